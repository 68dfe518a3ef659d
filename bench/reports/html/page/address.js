"use strict";
// What is shown, in the address: `#dataset=...&image=...`. Any other fragment is a place on the page.
const Address = (() => {
  /** @type {(() => void)[]} */
  const followers = [];
  let values = new URLSearchParams();
  /** @type {number | undefined} */
  let waiting;

  const read = () => {
    const fragment = location.hash.slice(1);
    if (fragment === "" || fragment.includes("=")) {
      values = new URLSearchParams(fragment);
    } else {
      values.delete("image");
    }
  };

  /** @param {string} key @param {string} [otherwise] */
  const value = (key, otherwise = "") => values.get(key) ?? otherwise;

  /** Several names; a comma within a name is escaped. @param {string} key @returns {string[] | null} */
  const list = (key) => values.get(key)?.split(",").filter(Boolean).map(decodeURIComponent) ?? null;

  /** @param {string[]} names */
  const joined = (names) => names.map(encodeURIComponent).join(",");

  const write = (/** @type {boolean} */ replace) => {
    clearTimeout(waiting);
    waiting = undefined;
    const address = `#${values}`;
    if (address !== (location.hash || "#")) {
      history[replace ? "replaceState" : "pushState"](null, "", address);
    }
  };

  /** @param {Record<string, string | number | null>} changes; null and "" take a key out */
  const set = (changes) => {
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === "") {
        values.delete(key);
      } else {
        values.set(key, String(value));
      }
    }
  };

  /** A step that Back undoes. @param {Record<string, string | number | null>} changes */
  const change = (changes) => {
    if (waiting !== undefined) {
      write(true);
    }
    set(changes);
    write(false);
  };

  /** What moves all the time: no step, and written when it rests. @param {Record<string, string | number | null>} changes */
  const drift = (changes) => {
    set(changes);
    clearTimeout(waiting);
    waiting = setTimeout(() => write(true), 200);
  };

  /** Call `follower` now and whenever the reader goes back, forward or to another address. @param {() => void} follower */
  const follow = (follower) => {
    followers.push(follower);
    follower();
  };

  const copy = () => {
    write(true);
    copyText(location.href);
  };

  window.addEventListener("popstate", () => {
    clearTimeout(waiting);
    waiting = undefined;
    read();
    followers.forEach((follower) => follower());
  });
  read();
  return { value, list, joined, change, drift, follow, copy };
})();
