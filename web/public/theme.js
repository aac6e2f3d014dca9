// Sets the chosen theme before the first paint; the console's stylesheet follows the system without it.
const theme = localStorage.getItem("adit.theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
