'use strict';
// Elements and text. Whatever comes from the data becomes a text node or an attribute, never markup.

// Control characters and those that change the direction of text, made visible.
function shown(text) {
  return String(text).replace(
      /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
      c => '⟨U+' + c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0') + '⟩');
}

// el('td', {class: 'num', onclick: f, vars: {'--x': '3%'}}, 'text', node, [more], null)
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) {
      node.addEventListener(key.slice(2), value);
    } else if (key === 'vars') {
      for (const [name, x] of Object.entries(value)) node.style.setProperty(name, x);
    } else {
      node.setAttribute(key, value === true ? '' : shown(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(shown(child)));
  }
  return node;
}

// A table in a box of its own that scrolls. columns: [{title, num, help}], rows: arrays of cells, a cell being text,
// a node, an array of these, or {text, class, help}; a row may be {cells, class}.
function table(columns, rows, label, caption = false) {
  const head = columns.map(c => el('th', {scope: 'col', class: c.num ? 'num' : null, title: c.help}, c.title));
  const body = rows.map(row => {
    const cells = (row.cells ?? row).map((cell, i) => {
      const plain = cell === null || cell === undefined || typeof cell !== 'object' || cell instanceof Node || Array.isArray(cell);
      const {text, help} = plain ? {text: cell} : cell;
      const long = typeof text === 'string' && text.length > 40 && !columns[i].num ? 'long' : '';
      const kind = [columns[i].num ? 'num' : '', long, plain ? '' : cell.class ?? ''].join(' ').trim();
      return el('td', {class: kind || null, title: help}, text);
    });
    return el('tr', {class: row.class}, cells);
  });
  return el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label},
            el('table', {}, caption ? el('caption', {}, label) : null, el('thead', {}, el('tr', {}, head)),
               el('tbody', {}, body)));
}

// The first `most` of many nodes, and a button for the rest.
function firstOf(items, most, make) {
  const box = el('div', {}, items.slice(0, most).map(make));
  if (items.length > most) {
    const more = el('button', {type: 'button', onclick: () => {
      more.replaceWith(...items.slice(most).map(make));
    }}, `Show ${items.length - most} more`);
    box.append(more);
  }
  return box;
}

function section(title, ...children) { return el('section', {}, el('h2', {}, title), children); }
function note(...children) { return el('p', {class: 'note'}, children); }
function empty(...why) { return el('p', {class: 'empty'}, why); }
function mono(text) { return el('span', {class: 'mono'}, text); }

function copyButton(text) {
  const button = el('button', {type: 'button', class: 'copy', onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a page from disk may have no clipboard
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector('code'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand('copy');
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }}, 'Copy');
  return button;
}

// Numbers for people.
function sig(x, digits = 3) {
  if (x === null || x === undefined) return '–';
  if (Number.isNaN(x)) return 'NaN';
  if (!Number.isFinite(x)) return x > 0 ? '∞' : '−∞';
  if (x === 0) return '0';
  const size = Math.abs(x);
  if (size >= 10 ** digits && size < 1e5) return whole(Math.round(x)).replace('-', '−');
  const text = size >= 1e5 || size < 1e-3 ? x.toExponential(digits - 1) : x.toPrecision(digits);
  return text.replace('e+', 'e').replace('-', '−').replace('e-', 'e−');
}
function whole(x) { return x === null || x === undefined ? '–' : x.toLocaleString('en'); }
function percent(x) { return x === null || !Number.isFinite(x) ? '–' : `${Math.round(100 * x)}%`; }
function plural(n, one, many = one + 's') { return `${whole(n)} ${n === 1 ? one : many}`; }

function bytes(x) {
  if (x === null || x === undefined) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; x >= 1000 && unit < 4; ++unit) x /= 1000;
  return `${unit === 0 ? x : x.toPrecision(3)} ${units[unit]}`;
}

function seconds(x) {
  if (x === null || x === undefined) return '–';
  if (x === 0) return '0 s';
  if (x >= 1) return `${x.toPrecision(3)} s`;
  return x >= 1e-3 ? `${(x * 1e3).toPrecision(3)} ms` : `${(x * 1e6).toPrecision(3)} µs`;
}
