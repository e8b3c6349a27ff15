// Light or dark: as the system has it, or as chosen here.

const THEMES = ["auto", "light", "dark"];
const STORED_THEME = "lidr-report-theme";

function startTheme() {
  const button = byId("theme");
  let theme = storedTheme();
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    storeTheme(theme);
    apply();
  });
  button.hidden = false;
  apply();
}

function storedTheme() {
  try {
    const stored = localStorage.getItem(STORED_THEME);
    return THEMES.includes(stored) ? stored : "auto";
  } catch {
    return "auto"; // no storage for files from disk in this browser
  }
}

function storeTheme(theme) {
  try {
    localStorage.setItem(STORED_THEME, theme);
  } catch {
    // as above: the choice lasts as long as the page
  }
}

startTheme();
startBrowser();
