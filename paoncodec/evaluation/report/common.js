"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

/** A new element: make("td", {class: "good"}, "text", child). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A new element of SVG. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number for people; a dash where there is none. */
function figure(value, digits) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function signed(value, digits) {
  return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
}

/** Buttons of which one is pressed; choose(key) is called with its key. */
function tabs(place, entries, chosen, choose) {
  const buttons = entries.map(([key, text]) => {
    const button = make("button", { type: "button", "data-key": key }, text);
    button.addEventListener("click", () => press(key));
    return button;
  });
  function press(key) {
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.key === String(key));
    choose(key);
  }
  place.replaceChildren(...buttons);
  press(chosen);
}

/** What to say below figures if some codecs were measured on other pictures than the first. */
function otherPictures() {
  if (!data.elsewhere.length) return "";
  return ` Of other pictures than ${data.codecs[0].name}: ${data.elsewhere.join(", ")}. Beside these, the pictures are compared as much as the codecs.`;
}

/** Choices of a <select>: [value, text] each. */
function fill(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  if (chosen !== undefined) select.value = String(chosen);
}

$("title").textContent = data.title;
$("subtitle").textContent = [
  data.codecs.length === 1 ? "1 codec" : `${data.codecs.length} codecs`,
  data.datasets.length ? `on ${data.datasets.join(", ")}` : "",
  `· made ${data.made} by paoncodec ${data.version}`,
].filter(Boolean).join(" ");
