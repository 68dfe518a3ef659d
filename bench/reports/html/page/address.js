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

  /** A key that is there several times. @param {string} key */
  const list = (key) => (values.has(key) ? values.getAll(key) : null);

  const write = (/** @type {boolean} */ replace) => {
    clearTimeout(waiting);
    waiting = undefined;
    const address = `#${values}`;
    if (address !== (location.hash || "#")) {
      history[replace ? "replaceState" : "pushState"](null, "", address);
    }
  };

  /** @param {Record<string, string | string[]>} changes "" and [] take a key out */
  const set = (changes) => {
    for (const [key, value] of Object.entries(changes)) {
      values.delete(key);
      [value].flat().filter((one) => one !== "").forEach((one) => values.append(key, one));
    }
  };

  /** A step that Back undoes. @param {Record<string, string | string[]>} changes */
  const change = (changes) => {
    if (waiting !== undefined) {
      write(true);
    }
    set(changes);
    write(false);
  };

  /** What moves all the time: no step, and written when it rests. @param {Record<string, string | string[]>} changes */
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
  return { value, list, change, drift, follow, copy };
})();
