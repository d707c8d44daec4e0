// Elements of the page, made without any text being read as markup.

/** An element with properties, attributes (aria-..., data-...), event handlers (onclick) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A button that leaves the keyboard to the image. */
export function button(properties, ...children) {
  return element("button", { type: "button", onmousedown: (event) => event.preventDefault(), ...properties }, ...children);
}

export const byId = (id) => document.getElementById(id);
