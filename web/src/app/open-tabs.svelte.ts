/** How many terminals are open; apart from the terminal's own code, which is loaded only when it is needed. */
class OpenTabs {
  count = $state(0);
}

export const openTabs = new OpenTabs();
