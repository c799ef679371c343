'use strict';
// Provenance: where the figures come from, and all of them for other tools.

function runFacts(run, rows) {
  const machine = MODEL.machines[run.fingerprint];
  const seeds = [...new Set(rows.map(row => row.case.seed))];
  const facts = {
    file: run.file, schema: run.schema, rows: whole(rows.length), commit: run.commit, subject: run.subject, started: run.started,
    communicator: run.communicator, processes: run.world > 0 ? run.world : 'threads', device: run.device,
    'flushes denormals': run.ftz === null ? '–' : run.ftz ? 'in the device’s kernels; the oracle never' : 'no', seeds: seeds.join(', '),
    fingerprint: run.fingerprint,
  };
  const pair = ([name, value]) => [el('dt', {}, name), el('dd', {}, value === '' || value === null ? '–' : value)];
  return section(run.file, el('dl', {class: 'facts'}, Object.entries(facts).map(pair)), el('h3', {}, 'Machine and build'),
                 machine ? el('dl', {class: 'facts'}, Object.entries(machine).map(pair)) :
                           empty('Rows of this schema do not name their machine beyond its fingerprint.'));
}

function download() {
  const text = document.getElementById('data').textContent;
  const address = URL.createObjectURL(new Blob([JSON.stringify(JSON.parse(text))], {type: 'application/json'}));
  const link = el('a', {download: 'ringside.json'});
  link.href = address;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

VIEWS.push({id: 'provenance', title: 'Provenance', render(rows) {
  const runs = [...groupBy(rows, row => row.run)];
  return [
    el('p', {}, el('button', {type: 'button', id: 'download', onclick: download}, 'Download the data as JSON'), ' ',
       el('span', {class: 'quiet-text'}, `${whole(ROWS.length)} rows, as this page has them. Made by ringside ${MODEL.program}.`)),
    runs.map(([run, of]) => runFacts(run, of)),
    runs.length === 0 ? empty('No case passes the filters.') : null,
  ];
}});
