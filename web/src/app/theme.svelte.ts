export type Theme = "system" | "light" | "dark";

const KEY = "adit.theme"; // also read by theme.js, before the first paint

class ThemeChoice {
  current = $state<Theme>(read());

  choose(theme: Theme): void {
    this.current = theme;
    if (theme === "system") {
      localStorage.removeItem(KEY);
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem(KEY, theme);
      document.documentElement.dataset.theme = theme;
    }
  }
}

export const theme = new ThemeChoice();

function read(): Theme {
  const stored = localStorage.getItem(KEY);
  return stored === "light" || stored === "dark" ? stored : "system";
}
