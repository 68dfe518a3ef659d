"use strict";
// Elements by id and made from parts. Data only ever becomes text or a property, never markup.

/** @param {string} id @returns {HTMLElement} */
const get = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** A select or an input. @param {string} id @returns {HTMLSelectElement} */
const field = (id) => /** @type {HTMLSelectElement} */ (document.getElementById(id));

/** Choose a value; what the field does not offer is `otherwise`. @param {string} id @param {string} value @param {string} otherwise */
const choose = (id, value, otherwise) => {
  field(id).value = value;
  if (field(id).selectedIndex === -1) {
    field(id).value = otherwise;
  }
};

/** An element with properties (else attributes) and children. @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string)} children @returns {any} */
const make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) {
      Object.assign(element, { [name]: value });
    } else {
      element.setAttribute(name, value);
    }
  }
  element.append(...children);
  return element;
};

/** Fill a select with titles, their numbers as values. @param {string} id @param {string[]} titles */
const fill = (id, titles) => {
  get(id).replaceChildren(...titles.map((title, index) => new Option(title, String(index))));
};

/** Fill `box` as far as it is scrolled to, a hundred nodes at a time. @param {HTMLElement} box @param {number} count @param {(index: number) => Node} node */
const fillSlowly = (box, count, node) => {
  const end = make(box.tagName === "UL" ? "li" : "tr", { className: "more" });
  let done = 0;
  const more = () => {
    for (const next = Math.min(count, done + 100); done < next; done += 1) {
      end.before(node(done));
    }
    observer.disconnect();
    if (done < count) {
      // Observed anew, it is told of again while it is still near the window.
      observer.observe(end);
    } else {
      end.remove();
    }
  };
  const observer = new IntersectionObserver((seen) => {
    if (end.isConnected && seen.some((entry) => entry.isIntersecting)) {
      more();
    }
  }, { rootMargin: "600px" });
  box.replaceChildren(end);
  more();
};

/** Copy text; where the browser does not allow it, it is there to be copied by hand. @param {string} text */
const copyText = async (text) => {
  field("copied-text").value = text;
  const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  get("copied-title").textContent = copied ? "Copied" : "Copy this";
  /** @type {any} */ (get("copied")).showModal();
  field("copied-text").focus();
  /** @type {any} */ (field("copied-text")).select();
};
