// A large file as a job: submitted, its progress, its rows, and its end.
const POLL = 1000;  // milliseconds between questions for the state
const LISTED = 2000;  // rows of a job that the page shows

function offerJob(sent, error) {
  const text = element("p", {}, error.message);
  if (!sent.file || !sent.card.jobs || ![0, 413].includes(error.status)) return problem(text);
  problem(text, element("button", { type: "button", click: () => submitJob(sent) }, "Submit the file as a job"));
}

async function submitJob(sent) {
  problem();
  progress("The file is being sent.");
  try {
    const job = await (await call(`v1/jobs?model=${encodeURIComponent(sent.model)}&operation=${sent.operation}`, options(sent))).json();
    await followJob(sent, job);
  } catch (error) {
    progress("");
    problem(error.message);
  }
}

async function followJob(sent, job) {
  const bar = element("progress", { max: 1 }), text = element("p", { class: "soft" });
  const cancel = element("button", { type: "button", click: () => call(`v1/jobs/${job.id}`, { method: "DELETE" }).catch(error => problem(error.message)) }, "Cancel the job");
  $("job").replaceChildren(element("h2", {}, `Job ${job.id}`), bar, text, cancel);
  $("job").hidden = false;
  progress("The job runs; it continues if you close this page.");
  while (["queued", "running"].includes(job.state)) {
    const left = job.eta_seconds ? `, about ${Math.ceil(job.eta_seconds)} s left` : "";
    if (job.total) bar.value = job.done / job.total;
    text.textContent = `${job.state}: ${(job.done || 0).toLocaleString("en")} of ${job.total ? plural(job.total, "record") : "the records"}${left}`;
    await new Promise(next => setTimeout(next, POLL));
    try {
      job = await (await call(`v1/jobs/${job.id}`)).json();
    } catch (error) {  // the job continues when a server that was ended is started again
      if (![0, 429, 503].includes(error.status)) throw error;
      text.textContent = `${error.message} The page asks again.`;
      await new Promise(next => setTimeout(next, 4 * POLL));
    }
  }
  cancel.remove();
  bar.value = job.state === "done" ? 1 : bar.value;
  text.textContent = `${job.state}${job.message ? `: ${job.message}` : ""}`;
  progress(`The job is ${job.state}.`);
  if (job.state === "failed" || !job.done) return;
  if (sent.operation === "embed") {  // vectors of a large file are not shown
    state.sent = { ...sent, job: job.id };
    return $("job").append(downloads());
  }
  const lines = (await (await call(`v1/jobs/${job.id}/result`, { headers: { Accept: FORMATS.ndjson } })).text()).trim().split("\n");
  const rows = lines.slice(0, LISTED).map(line => JSON.parse(line)), columns = Object.keys(rows[0] || {});
  if (lines.length > LISTED) progress(`The job is done; the first ${LISTED.toLocaleString("en")} of ${plural(lines.length, "row")} are shown.`);
  if (job.state !== "done") progress(`The job is ${job.state}; the rows until then are shown.`);
  showAnswer({ ...sent, job: job.id }, { rows, columns, warnings: [] });
}
