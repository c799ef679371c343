'use strict';
// The page: its head, filters, tabs, and the view that is open.

const THEMES = ['auto', 'light', 'dark'];
let theme = 'auto';
const prefers_dark = matchMedia('(prefers-color-scheme: dark)');

function rowCount() { return `${whole(rowsShown().length)} of ${plural(ROWS.length, 'case')}`; }

function renderHead() {
  const {kind, text} = headline();
  const line = document.getElementById('headline');
  line.className = kind;
  const runs = [...new Set(ROWS.map(row => row.run))];
  const commits = [...new Set(runs.map(run => run.commit))];
  const of = commits.length === 1 ? [' at ', mono(commits[0]), runs[0].subject ? ` ${runs[0].subject}` : ''] : ` at ${commits.length} commits`;
  line.replaceChildren(el('strong', {}, text), el('span', {class: 'of'}, of));
  document.title = shown(`${text} · Ringside`);
}

function renderFilters() {
  const box = document.getElementById('filters');
  const summaryText = ({key, title, values}) => {
    const picked = state.picked[key];
    return `${title}: ${picked.size === 0 || picked.size === values.length ? 'all' : picked.size === 1 ? shown([...picked][0]) : `${picked.size} of ${values.length}`}`;
  };
  box.replaceChildren(...FILTERS.map(filter => {
    const summary = el('summary', {}, summaryText(filter));
    const boxes = filter.values.map(value => {
      const input = el('input', {type: 'checkbox', value, checked: state.picked[filter.key].has(value), onchange: () => {
        state.picked[filter.key][input.checked ? 'add' : 'delete'](value);
        summary.textContent = summaryText(filter);
        document.getElementById('count').textContent = rowCount();
        renderView();
      }});
      return el('label', {}, input, ' ', value);
    });
    return el('details', {class: 'filter', id: 'filter-' + filter.key}, summary, el('div', {class: 'menu'}, boxes));
  }), el('button', {type: 'button', class: 'quiet', id: 'clear', onclick: () => {
    for (const filter of FILTERS) state.picked[filter.key].clear();
    renderFilters();
    renderView();
  }}, 'Show all'), el('span', {id: 'count', role: 'status'}, rowCount()));
}

function renderTabs() {
  const list = document.getElementById('tabs'), panels = document.getElementById('panels');
  list.replaceChildren(...VIEWS.map(view => el('button', {
    type: 'button', role: 'tab', id: 'tab-' + view.id, 'aria-controls': 'panel-' + view.id, onclick: () => showTab(view.id),
  }, view.title)));
  panels.replaceChildren(...VIEWS.map(view => el('div', {role: 'tabpanel', id: 'panel-' + view.id, 'aria-labelledby': 'tab-' + view.id, hidden: true})));
  list.addEventListener('keydown', event => {
    const at = VIEWS.findIndex(view => view.id === state.tab);
    const next = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: VIEWS.length - 1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const view = VIEWS[(next + VIEWS.length) % VIEWS.length];
    showTab(view.id);
    document.getElementById('tab-' + view.id).focus();
  });
}

// Draws the open view anew; what had the focus keeps it.
function renderView() {
  const focused = document.activeElement?.id;
  closeCharts();
  for (const view of VIEWS) {
    const tab = document.getElementById('tab-' + view.id), panel = document.getElementById('panel-' + view.id);
    const open = view.id === state.tab;
    tab.setAttribute('aria-selected', String(open));
    tab.tabIndex = open ? 0 : -1;
    panel.hidden = !open;
    panel.replaceChildren();
    if (open) panel.append(...[view.render(rowsShown())].flat(Infinity).filter(node => node));
  }
  paintCharts();
  writeAddress();
  if (focused) document.getElementById(focused)?.focus({preventScroll: true});
}

function showTab(id) {
  state.tab = id;
  renderView();
  document.getElementById('tab-' + id).scrollIntoView({block: 'nearest', inline: 'nearest'});
}

function showTheme() {
  document.documentElement.dataset.theme = theme === 'auto' ? (prefers_dark.matches ? 'dark' : 'light') : theme;
  document.getElementById('theme').textContent = `Theme: ${theme}`;
}

document.getElementById('theme').addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  showTheme();
  renderView();
});
prefers_dark.addEventListener('change', () => { showTheme(); renderView(); });
// Paper is light.
addEventListener('beforeprint', () => { document.documentElement.dataset.theme = 'light'; renderView(); });
addEventListener('afterprint', () => { showTheme(); renderView(); });
addEventListener('hashchange', () => { readAddress(); renderFilters(); renderView(); });
document.addEventListener('click', event => {
  for (const menu of document.querySelectorAll('details.filter[open]')) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener('keydown', event => {
  if (event.key !== 'Escape') return;
  for (const menu of document.querySelectorAll('details.filter[open]')) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
});

readAddress();
showTheme();
renderHead();
renderFilters();
renderTabs();
renderView();
