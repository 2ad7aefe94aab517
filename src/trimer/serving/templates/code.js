// The request of the page as text for curl, Python and R. What was pasted is part of the text, so that it runs as it stands.
const ARGUMENT = 100_000;  // characters of an argument of a command; systems allow 128 KiB
const MEDIA = { "pasted.fasta": "text/x-fasta", "pasted.csv": "text/csv" };  // of pasted text
const shell = text => `'${text.replaceAll("'", `'\\''`)}'`;
const address = sent => new URL(pathOf(sent), location.href).href;

function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${python(part)}`).join(", ")}}`;
  return JSON.stringify(value);
}

// A text as the standard input of a command. The last line is one that the text does not hold.
function here(text) {
  let end = "END";
  while (text.split("\n").includes(end)) end += "_";
  return `<<'${end}'\n${text}\n${end}`;
}

// A text as a raw string of R, which ends with more dashes than the text holds in a row.
function raw(text) {
  let dashes = "---";
  while (text.includes(`)${dashes}"`)) dashes += "-";
  return `r"${dashes}(${text})${dashes}"`;
}

const pythonLines = text => `(\n${text.split("\n").map(line => `    ${JSON.stringify(`${line}\n`)}`).join("\n")}\n)`;

// The address with the parameters, for a request whose body is a file.
const withParameters = sent => {
  const query = new URLSearchParams(Object.entries(sent.parameters).map(([name, value]) => [name, JSON.stringify(value)]));
  return `${address(sent)}${query.size ? `?${query}` : ""}`;
};
const media = sent => MEDIA[sent.name] || "text/plain";

const CODE = {
  curl: sent => {
    const token = state.token ? ' -H "Authorization: Bearer $TRIMER_SERVE_TOKEN"' : "";
    if (sent.pasted) return `curl ${shell(withParameters(sent))}${token} -H 'Content-Type: ${media(sent)}' \\\n  --data-binary @- ${here(sent.pasted)}`;
    if (sent.file) return `curl ${shell(address(sent))}${token} \\\n  -F parameters=${shell(JSON.stringify(sent.parameters))} \\\n  -F ${shell(`file=@${sent.name}`)}`;
    const body = JSON.stringify({ records: sent.records, parameters: sent.parameters });
    return `curl ${shell(address(sent))}${token} -H 'Content-Type: application/json' \\\n  ${body.length < ARGUMENT ? `-d ${shell(body)}` : `--data-binary @- ${here(body)}`}`;
  },
  Python: sent => {
    const token = state.token ? '\nheaders["Authorization"] = "Bearer " + os.environ["TRIMER_SERVE_TOKEN"]' : "";
    const file = sent.pasted ? `${pythonLines(sent.pasted)}.encode()` : `open(${JSON.stringify(sent.name)}, "rb").read()`;
    const body = sent.file ? `url = ${JSON.stringify(withParameters(sent))}\nbody = ${file}\nheaders = {"Content-Type": ${JSON.stringify(sent.pasted ? media(sent) : "application/octet-stream")}}`
      : `url = ${JSON.stringify(address(sent))}\nrecords = ${python(sent.records)}\nparameters = ${python(sent.parameters)}\nbody = json.dumps({"records": records, "parameters": parameters}).encode()\nheaders = {"Content-Type": "application/json"}`;
    return `import json\n${state.token ? "import os\n" : ""}import urllib.request\n\n${body}${token}\nwith urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:\n    answer = json.load(response)\nfor row in answer["rows"]:\n    print(row)`;
  },
  R: sent => {
    const token = state.token ? '\n  req_auth_bearer_token(Sys.getenv("TRIMER_SERVE_TOKEN")) |>' : "";
    const url = sent.pasted ? withParameters(sent) : address(sent);
    const body = sent.pasted ? `req_body_raw(${raw(sent.pasted)}, ${JSON.stringify(media(sent))})`
      : sent.file ? `req_body_multipart(parameters = ${JSON.stringify(JSON.stringify(sent.parameters))}, file = curl::form_file(${JSON.stringify(sent.name)}))`
      : `req_body_raw(${raw(JSON.stringify({ records: sent.records, parameters: sent.parameters }))}, "application/json")`;
    return `library(httr2)\nanswer <- request(${JSON.stringify(url)}) |>${token}\n  ${body} |>\n  req_perform() |>\n  resp_body_json(simplifyVector = TRUE)\nanswer$rows`;
  },
};

function showCode() {
  const sent = state.sent, text = element("pre", { tabindex: 0, "aria-label": "Request as text" }), copy = element("span");
  const show = name => {
    const written = CODE[name](sent);
    text.textContent = written;
    copy.replaceChildren(copyButton(written, `Copy the request for ${name}`));
  };
  const choices = Object.keys(CODE).map((name, place) => element("label", { class: "choice" }, element("input", { type: "radio", name: "language", value: name, checked: place === 0, change: () => show(name) }), name));
  $("code").replaceChildren(element("h2", { id: "code-title" }, "The same request as text"), element("div", { class: "line", role: "group", "aria-label": "Language" }, ...choices, copy), text);
  show("curl");
  $("code").hidden = false;
}
