'use strict';
// What is shown: the view, the filters, and what was chosen in a view. All of it is in the address, so that a view can
// be linked; an address is somebody's text, of which only values that the data have are taken.

const FILTERS = [
  {key: 'variant', title: 'Variant'},
  {key: 'operator', title: 'Operator'},
  {key: 'dtype', title: 'dtype'},
];
for (const filter of FILTERS) {
  filter.values = [...new Set(ROWS.map(row => String(row.case[filter.key])))];
}

const VIEWS = [];  // {id, title, render(rows) → nodes}, by the views' own files
const state = {
  tab: 'verdict',
  picked: Object.fromEntries(FILTERS.map(f => [f.key, new Set()])),  // none: all
  name: null,    // of the case whose detail is open
  tensor: null,  // of it
  choices: new Map(),
};

function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const tab = said.get('tab');
  state.tab = VIEWS.some(v => v.id === tab) ? tab : 'verdict';
  for (const filter of FILTERS) {
    state.picked[filter.key] = new Set(said.getAll(filter.key).filter(v => filter.values.includes(v)));
  }
  const name = said.get('case'), tensor = said.get('tensor');
  state.name = ROWS.some(row => row.name === name) ? name : null;
  state.tensor = OUTS.includes(tensor) ? tensor : null;
  state.choices = new Map([...said].filter(([key]) => key.startsWith('choose-')));
}

function writeAddress() {
  const said = new URLSearchParams();
  if (state.tab !== 'verdict') said.set('tab', state.tab);
  for (const filter of FILTERS) {
    for (const value of state.picked[filter.key]) said.append(filter.key, value);
  }
  if (state.name !== null) said.set('case', state.name);
  if (state.name !== null && state.tensor) said.set('tensor', state.tensor);
  for (const [key, value] of state.choices) said.set(key, value);
  history.replaceState(null, '', `#${said}`);
}

function passesFilters(of) {
  return FILTERS.every(({key}) => state.picked[key].size === 0 || state.picked[key].has(String(of[key])));
}
function rowsShown() { return ROWS.filter(row => passesFilters(row.case)); }

// What stands in a case's name; of cases whose rows are not here.
function partsOfName(name) {
  const [variant, operator, dtype] = name.split('-');
  return {variant, operator, dtype};
}

// The option that was chosen under `key`, or the first. options: [{value, label}], not empty.
function chosen(key, options) {
  return options.find(o => o.value === state.choices.get('choose-' + key)) ?? options[0];
}

// A labelled list of them; choosing draws the view again.
function chooser(key, title, options) {
  const now = chosen(key, options);
  const list = el('select', {id: 'choose-' + key, onchange: event => {
    state.choices.set('choose-' + key, options[event.target.selectedIndex].value);
    renderView();
  }}, options.map(o => el('option', {selected: o === now}, o.label ?? o.value)));
  return el('label', {class: 'chooser'}, title + ' ', list);
}

function toggle(key, title, fallback = false) {
  const box = el('input', {type: 'checkbox', id: 'choose-' + key, checked: isOn(key, fallback), onchange: event => {
    state.choices.set('choose-' + key, event.target.checked ? 'on' : 'off');
    renderView();
  }});
  return el('label', {class: 'chooser'}, box, ' ' + title);
}
function isOn(key, fallback = false) {
  const said = state.choices.get('choose-' + key);
  return said === 'on' || (fallback && said !== 'off');
}

// Opens a case's detail in the correctness view.
function openCase(row, tensor) {
  state.name = row.name;
  state.tensor = tensor ?? null;
  state.choices.delete('choose-problem');
  showTab('correctness');
  document.getElementById('detail')?.scrollIntoView({block: 'nearest'});
  document.getElementById('detail-title')?.focus();
}
