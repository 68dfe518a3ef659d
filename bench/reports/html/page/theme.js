"use strict";
// Light, dark or as the system says; remembered where the browser allows it.
(() => {
  const themes = ["system", "light", "dark"];
  const kept = () => {
    try {
      return localStorage.getItem("cassr-bench-theme");
    } catch {
      return null;
    }
  };
  const keep = (/** @type {string} */ theme) => {
    try {
      localStorage.setItem("cassr-bench-theme", theme);
    } catch {
      // Private windows keep nothing.
    }
  };
  const apply = (/** @type {string} */ theme) => {
    document.documentElement.dataset.theme = theme;
    return theme;
  };

  let theme = apply(themes.find((name) => name === kept()) ?? "system");
  document.addEventListener("DOMContentLoaded", () => {
    const button = /** @type {HTMLElement} */ (document.getElementById("theme"));
    const show = () => {
      button.textContent = `Theme: ${theme}`;
    };
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      theme = apply(themes[(themes.indexOf(theme) + 1) % themes.length]);
      keep(theme);
      show();
    });
  });
})();
