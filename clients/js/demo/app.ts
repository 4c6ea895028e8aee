// The demo: a chat room and a shared board on one connection, with a toast for its status.

import { Client, type Status } from "../src/index.js";
import "../src/status-element.js";
import { Board } from "./board.js";
import { Chat } from "./chat.js";
import { find } from "./dom.js";
import { CuttableSocket, cutNetwork } from "./network.js";
import { cleanName, inventName } from "./people.js";

interface Config {
  ws_port: number;
  tls: boolean;
  path: string;
  /** Clients have to show a token. */
  login: boolean;
}

function edgeUrl(config: Config, name: string): string {
  const scheme = config.tls || location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.hostname}:${config.ws_port}${config.path}?user=${encodeURIComponent(name)}`;
}

function showStatus(status: Status): void {
  const pill = find<HTMLButtonElement>("status");
  const texts = {
    online: () => "Connected",
    connecting: () => "Connecting…",
    reconnecting: () => `Reconnecting in ${status.state === "reconnecting" ? status.seconds : 0} s`,
    offline: () => (status.state === "offline" && status.reason) || "Disconnected",
  };
  pill.dataset["state"] = status.state;
  pill.disabled = status.state === "online" || status.state === "connecting";
  pill.title = pill.disabled ? "" : "Connect now";
  find("status-text").textContent = texts[status.state]();
}

function listen(client: Client, name: HTMLInputElement): void {
  const cut = find<HTMLInputElement>("cut");
  cut.addEventListener("change", () => {
    cutNetwork(cut.checked);
    document.body.dataset["cut"] = String(cut.checked);
    if (!cut.checked) client.wake();
  });
  find("status").addEventListener("click", () => client.connect());
  find("name-form").addEventListener("submit", (event) => {
    event.preventDefault();
    name.blur();
  });
  name.addEventListener("change", () => {
    name.value = cleanName(name.value) || inventName();
    if (name.value === sessionStorage.getItem("name")) return;
    sessionStorage.setItem("name", name.value);
    client.close(); // the name is part of the address
    client.connect();
  });
  showTab("chat");
  for (const tab of document.querySelectorAll<HTMLButtonElement>("#tabs button")) {
    tab.addEventListener("click", () => showTab(tab.value));
  }
}

function showTab(tab: string): void {
  document.body.dataset["tab"] = tab;
  for (const button of document.querySelectorAll<HTMLButtonElement>("#tabs button")) {
    button.setAttribute("aria-pressed", String(button.value === tab));
  }
}

/** Ask for a token while there is no connection; who one is then, the token says. */
function askForToken(client: Client, name: HTMLInputElement): void {
  const form = find<HTMLFormElement>("login-form");
  const token = find<HTMLInputElement>("token");
  client.on("status", (status) => {
    form.hidden = status.state !== "offline";
    name.disabled = true;
    if (status.state === "online" && status.user) name.value = status.user;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", token.value.trim());
    token.value = "";
    client.connect();
  });
}

function showCommand(): void {
  const body = `{"channel":"chat:demo","data":"Hello from curl"}`;
  const command = `curl ${location.origin}/api/publish -H 'Content-Type: application/json' -d '${body}'`;
  const copy = find("copy");
  find("curl").textContent = command;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });
}

async function main(): Promise<void> {
  const config = (await (await fetch("/demo/config.json")).json()) as Config;
  const name = find<HTMLInputElement>("name");
  name.value = cleanName(sessionStorage.getItem("name") ?? "") || inventName();
  sessionStorage.setItem("name", name.value);
  const client = new Client(() => edgeUrl(config, name.value), {
    WebSocket: CuttableSocket,
    ...(config.login && { token: () => sessionStorage.getItem("token") }),
  });
  client.on("status", showStatus);
  document.querySelector("ringgate-status")!.client = client;
  const chat = new Chat(client, () => name.value);
  const board = new Board(client);
  chat.onLeave((member) => board.left(member));
  listen(client, name);
  if (config.login) askForToken(client, name);
  showCommand();
  client.connect();
}

void main();
