'use strict';
// Correctness: variant and dtype by grid, a cell a tensor, its colour the share of the bound that is used.

const BANDS = [0.05, 0.2, 0.5, 0.8, 1];  // upper ends of the scale's steps

function bandOf(share) { return share === null ? -1 : BANDS.findIndex(end => share <= end); }

function cellText(tensor) {
  const share = tensor.bound_share;
  if (share === null) return '–';
  if (!Number.isFinite(share)) return '✗ ' + sig(share);
  if (!tensor.red && share > 0.995) return '>.99';
  if (!tensor.red) return share < 0.0005 ? '0' : share.toFixed(share < 0.0995 ? 3 : 2).replace(/^0/, '');
  return '✗ ' + (share >= 1000 ? share.toExponential(0).replace('e+', 'e') : share >= 10 ? Math.round(share) : share.toFixed(share > 1 ? 1 : 2));
}

// The row whose tensor is worst: a red one before others, then the larger share of the bound.
function worstRow(rows, out) {
  const rank = row => {
    const tensor = row.tensors[out];
    const share = tensor.bound_share ?? -1;
    return [row.red && tensor.red ? 1 : 0, row.red ? 1 : 0, Number.isNaN(share) ? Infinity : share];
  };
  return rows.filter(row => row.tensors[out]).reduce((worst, row) => {
    if (worst === null) return row;
    const a = rank(row), b = rank(worst);
    const i = a.findIndex((x, k) => x !== b[k]);
    return i >= 0 && a[i] > b[i] ? row : worst;
  }, null);
}

// One tensor of all cases at a place of the matrix.
function tensorCell(rows, out, place, open) {
  const row = worstRow(rows, out);
  if (row === null) return el('span', {class: 'cell absent', 'aria-hidden': 'true'}, '');
  const tensor = row.tensors[out];
  const known = row.status === 'xfail' && tensor.red;
  const kind = known ? 'known' : tensor.red ? 'wrong' : `band${bandOf(tensor.bound_share)}`;
  const words = tensor.red ? (known ? 'known fault' : 'wrong') : 'within its bound';
  return el('button', {
    type: 'button', class: `cell ${kind}`, id: `cell-${place}-${out}`, tabindex: -1, 'data-out': out,
    'aria-label': `${out} of ${row.case.variant} ${mathOf(row.case)} ${gridOf(row.case)}: ${words}, ${sig(tensor.bound_share)} of it`,
    title: `${out}: ${sig(tensor.bound_share)} of its bound${rows.length > 1 ? `, the worst of ${rows.length} cases` : ''}`,
    onclick: () => open(row, out, rows),
  }, cellText(tensor));
}

function placeCells(rows, place, open) {
  if (rows === undefined) return el('td', {class: 'place'}, el('span', {class: 'absent-all', title: 'no such case'}, '·'));
  const ran = rows.filter(row => row.ran);
  if (ran.length === 0) {
    return el('td', {class: 'place'}, el('span', {class: 'absent-all', title: rows[0].reason}, 'skipped'));
  }
  const otherwise = ran.find(row => row.red && !OUTS.some(out => row.tensors[out]?.red));
  const mark = otherwise === undefined ? null : el('button', {
    type: 'button', class: 'cell wrong', id: `cell-${place}-case`, tabindex: -1, title: reasonsOf(otherwise).join('; '),
    'aria-label': `${shortName(otherwise)}: ${otherwise.status}, though no tensor is beyond its bound`,
    onclick: () => open(otherwise, null, rows),
  }, '✗ case');
  return el('td', {class: `place ${ran.some(row => row.red) ? 'red' : ''}`},
            el('div', {class: 'cells'}, OUTS.map(out => tensorCell(ran, out, place, open)), mark));
}

function legend() {
  const steps = BANDS.map((end, i) => el('span', {class: `cell band${i}`}, `≤ ${end}`));
  return el('p', {class: 'legend'}, 'share of the bound that the worst element uses: ', steps,
            el('span', {class: 'cell wrong'}, '✗ > 1'), ' wrong ', el('span', {class: 'cell known'}, '✗'), ' known fault');
}

// Arrow keys go from cell to cell, over what is not there; one cell is in the tab order.
function withArrowKeys(grid) {
  const rows = [...grid.querySelectorAll('tbody tr')].map(tr => [...tr.querySelectorAll('button.cell')]);
  const cells = rows.flat();
  if (cells.length > 0) cells[0].tabIndex = 0;
  grid.addEventListener('focusin', event => {
    if (!cells.includes(event.target)) return;
    for (const cell of cells) cell.tabIndex = cell === event.target ? 0 : -1;
  });
  grid.addEventListener('keydown', event => {
    const y = rows.findIndex(row => row.includes(event.target));
    if (y < 0) return;
    const x = rows[y].indexOf(event.target);
    const left = event.target.getBoundingClientRect().left;
    const nearest = row => [...row].sort((a, b) => Math.abs(a.getBoundingClientRect().left - left) -
                                                   Math.abs(b.getBoundingClientRect().left - left))[0];
    const filled = step => {
      for (let i = y + step; i >= 0 && i < rows.length; i += step) if (rows[i].length > 0) return nearest(rows[i]);
      return undefined;
    };
    const next = {ArrowLeft: () => rows[y][x - 1], ArrowRight: () => rows[y][x + 1], ArrowUp: () => filled(-1),
                  ArrowDown: () => filled(1), Home: () => rows[y][0], End: () => rows[y].at(-1)}[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });
  return grid;
}

function matrix(rows, open) {
  const operators = new Set(rows.map(row => row.case.operator));
  const lines = groupBy(rows, row => `${row.case.variant}\t${row.case.operator}\t${mathOf(row.case)}`);
  const grids = [...groupBy(rows, row => gridOf(row.case)).values()].map(group => group[0].case)
                    .sort((a, b) => a.dp * a.sp - b.dp * b.sp || a.sp - b.sp);
  const head = el('thead', {},
                  el('tr', {}, el('th', {scope: 'col', class: 'corner'}, 'variant'), el('th', {scope: 'col'}, 'dtype'),
                     grids.map(c => el('th', {scope: 'col', class: 'place'}, el('div', {class: 'grid-name'}, gridOf(c)),
                                       el('div', {class: 'cells outs', 'aria-hidden': 'true'},
                                          OUTS.map(out => el('span', {}, out)))))));
  let before = null;
  const body = [...lines.values()].sort((a, b) => a[0].index - b[0].index);
  const variants = groupBy(body, group => `${group[0].case.variant}\t${group[0].case.operator}`);
  const trs = [...variants.values()].flat().map((group, y) => {
    const c = group[0].case;
    const title = operators.size > 1 ? `${c.variant} ${c.operator}` : c.variant;
    const again = title === before;
    before = title;
    const places = groupBy(group, row => gridOf(row.case));
    return el('tr', {class: again ? 'again' : null},
              el('th', {scope: 'row', class: c.variant.length > 40 ? 'corner long' : 'corner'},
                 el('span', {class: again ? 'repeated' : null}, c.variant),
                 operators.size > 1 && !again ? el('small', {}, ' ' + c.operator) : null),
              el('td', {class: 'dtype'}, mathOf(c)),
              grids.map((grid, x) => placeCells(places.get(gridOf(grid)), `${y}-${x}`, open)));
  });
  return withArrowKeys(el('div', {class: 'scroll matrix', role: 'region', 'aria-label': 'Matrix of cases'},
                          el('table', {}, head, el('tbody', {}, trs))));
}

VIEWS.push({id: 'correctness', title: 'Correctness', render(rows) {
  const ran = rows.filter(row => row.ran);
  if (rows.length === 0) return empty('No case passes the filters.');
  if (ran.length === 0) return empty('Every case was skipped: ', rows[0].reason || 'no reason given', '.');
  const problems = [...groupBy(rows, row => problemOf(row.case))];
  const options = [{value: 'all', label: `all ${problems.length}, the worst of each place`},
                   ...problems.map(([problem, of]) => ({value: problem, label: `${problem} (${of.length})`}))];
  const problem = chosen('problem', options).value;
  const subset = problem === 'all' ? rows : problems.find(([key]) => key === problem)[1];
  const detail = el('div', {id: 'detail', 'aria-live': 'polite'});
  const open = (row, out, others) => {
    state.name = row.name;
    state.tensor = out;
    writeAddress();
    showDetail(detail, row, out, others);
    document.getElementById('detail-title').focus({preventScroll: true});
    detail.scrollIntoView({block: 'nearest'});
  };
  const at = subset.filter(row => row.ran && row.name === state.name);
  if (at.length > 0) {
    const row = at.find(r => r.red) ?? at[0];
    showDetail(detail, row, state.tensor, subset.filter(r => r.ran && shortName(r) === shortName(row)));
  }
  return [
    el('div', {class: 'choosers'}, chooser('problem', 'Problem', problems.length > 1 ? options : options.slice(1))),
    legend(), matrix(subset, open),
    at.length > 0 ? null : note('A cell shows its worst element, its ranks, and the command that repeats it.'), detail,
  ];
}});
