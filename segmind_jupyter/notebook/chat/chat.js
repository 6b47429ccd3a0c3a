// @ts-check
/**
 * The page's half of a chat. What it says to the kernel and hears from it stands in `panel.py`.
 *
 * Replies arrive as HTML that was made and cleaned in Python: `turn.html` is the one thing that
 * reaches `innerHTML` (in `showReply`). All else, names, models, errors, file names and the user's
 * own words, becomes text nodes.
 */

/**
 * @typedef {{id: string, label: string, about?: string, thumb?: string, file?: string, part?: number}} Chip
 * @typedef {{label: string, about: string, thumb: string}} Sent
 * @typedef {{
 *   id: string, at: number, ref?: string, text: string, sent: Sent[], stage: string,
 *   ended: boolean, elapsed_s: number, until?: string, html?: string, reply?: string, failed?: boolean,
 *   began_ms?: number,
 * }} Turn
 * @typedef {{
 *   name: string, variable: string, kept: string, model: string, models: string[][], system: string,
 *   usage: string, turns: Turn[], prompts: {text: string, plot?: boolean, error?: boolean}[], names: string[][],
 *   plot: boolean, notice: string, alarm: boolean, max_file_bytes: number, chunk_bytes: number,
 * }} State
 */

/**
 * Return the state after one message of the kernel's. Pure, but for the clock that it is given.
 *
 * @param {State} state
 * @param {any} message
 * @param {number} now_ms
 * @returns {State}
 */
export function reduce(state, message, now_ms = 0) {
  switch (message?.kind) {
    case "state": {
      const { kind, ...fields } = message;
      return begun(fields, now_ms);
    }
    case "turn": {
      const turn = { ...message.turn, began_ms: now_ms - 1000 * message.turn.elapsed_s };
      const turns = state.turns.filter((known) => known.id !== turn.id);
      turns.splice(turn.at, 0, turn);
      return { ...state, turns };
    }
    case "gone":
      return { ...state, turns: state.turns.filter((turn) => !message.ids.includes(turn.id)) };
    case "head":
    case "names":
    case "refused":
    case "notice": {
      const { kind, ref, ...fields } = message;
      return { ...state, ...fields };
    }
    default:
      return state;
  }
}

/**
 * Return the state as a page begins with it: turns count their seconds by this page's clock.
 *
 * @param {any} fields what the kernel tells
 * @param {number} now_ms
 * @returns {State}
 */
function begun(fields, now_ms) {
  const turns = fields.turns.map((/** @type {Turn} */ turn) => ({ ...turn, began_ms: now_ms - 1000 * turn.elapsed_s }));
  return { notice: "", alarm: false, ...fields, turns };
}

/**
 * Return the name that is being typed behind an open brace, and where it begins; `null` elsewhere.
 *
 * @param {string} text
 * @param {number} caret
 */
export function openBrace(text, caret) {
  const found = /(^|[^{])\{([\p{L}\p{N}_]*)$/u.exec(text.slice(0, caret));
  return found ? { typed: found[2], start: caret - found[2].length } : null;
}

/** What Enter does: "send", "break" or nothing of ours, as in the middle of a composition (IME).
 *
 * @param {{key: string, shiftKey: boolean, ctrlKey: boolean, metaKey: boolean, altKey: boolean,
 *   isComposing: boolean, keyCode?: number}} event
 * @param {boolean} breaks whether Enter alone breaks the line
 */
export function enterMeans(event, breaks) {
  if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return null;
  if (event.ctrlKey || event.metaKey) return "send";
  if (event.shiftKey || event.altKey) return "break";
  return breaks ? "break" : "send";
}

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Cut a file so that each part fits into one message.
 *
 * @param {number} size
 * @param {number} chunk
 */
export function parts(size, chunk) {
  const cuts = [];
  for (let begin = 0; begin < size || begin === 0; begin += chunk) {
    cuts.push([begin, Math.min(size, begin + chunk)]);
  }
  return cuts;
}

/** The key under which this page remembers what Enter does. */
const ENTER = "segmind-chat-enter-breaks";

/** State and listeners of each model of this page; several views share one. */
const stores = new WeakMap();

class Store {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Set<(message: any) => void>} */
    this.views = new Set();
    this.count = 0;
    /** @type {State} */
    this.state = begun(model.get("snapshot"), performance.now());
    /** Messages that were sent and have not become a turn: the kernel may be busy. */
    this.sending = new Map();
    model.on("msg:custom", (/** @type {any} */ message) => this.hear(message));
    this.say("state"); // what came while this script was loaded, nobody heard
  }

  /** @param {any} message */
  hear(message) {
    this.state = reduce(this.state, message, performance.now());
    const ref = message.kind === "turn" ? message.turn.ref : message.ref;
    if (ref) this.sending.delete(ref);
    for (const view of this.views) view(message);
  }

  /**
   * @param {string} kind
   * @param {object} [fields]
   * @param {ArrayBuffer[]} [buffers]
   */
  say(kind, fields = {}, buffers = []) {
    // What is asked for takes the last notice away.
    if (!["names", "state", "file"].includes(kind)) this.state = { ...this.state, notice: "", alarm: false };
    this.model.send({ kind, ...fields }, undefined, buffers);
  }

  fresh() {
    this.count += 1;
    return `${performance.timeOrigin.toString(36)}-${this.count}`;
  }
}

/** @param {any} model */
function storeOf(model) {
  if (!stores.has(model)) stores.set(model, new Store(model));
  return stores.get(model);
}

/**
 * Make an element: text children become text nodes, never HTML.
 *
 * @param {string} tag
 * @param {{[name: string]: any}} [fields]
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {any}
 */
function make(tag, fields = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role" || name === "list") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(.../** @type {any[]} */ (children.filter((child) => child || child === "")));
  return element;
}

/** Put Python's sanitized HTML of a reply, or of why there is none, into its place.
 *
 * @param {HTMLElement} place
 * @param {Turn} turn
 */
function showReply(place, turn) {
  place.innerHTML = turn.html ?? "";
  for (const block of place.querySelectorAll("pre")) {
    const frame = make("div", { class: "segmind-code" });
    block.replaceWith(frame);
    frame.append(block, copyButton("Copy code", () => block.textContent ?? ""));
  }
}

/**
 * @param {string} label
 * @param {() => string} text
 */
function copyButton(label, text) {
  const button = make("button", { type: "button", class: "segmind-tool", title: label, "aria-label": label }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      copyBySelection(text());
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

/** Where a page may not use the clipboard (no https), as the old command does.
 *
 * @param {string} text
 */
function copyBySelection(text) {
  const box = make("textarea", { value: text, class: "segmind-offscreen" });
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
}

/** One view of a chat: what it shows, and what is being written in it. */
class View {
  /**
   * @param {Store} store
   * @param {HTMLElement} el
   */
  constructor(store, el) {
    this.store = store;
    /** @type {Chip[]} */
    this.chips = [];
    /** @type {Map<string, {element: HTMLElement, shown: string, update: () => void}>} */
    this.rows = new Map();
    this.choice = -1;
    this.follows = true;
    /** The message that is being edited, and what was in the box before.
     * @type {{id: string, text: string, chips: Chip[]} | null} */
    this.editing = null;
    /** For how many seconds the kept transcript has not been what the kernel sent. */
    this.behind = 0;
    this.build();
    this.root.dataset.lmSuppressShortcuts = "true"; // Notebook 7 would run the cell on Shift+Enter
    for (const event of ["keydown", "keyup", "keypress", "paste", "copy", "cut"]) {
      this.root.addEventListener(event, (/** @type {Event} */ e) => e.stopPropagation());
    }
    el.append(this.root);
    this.hear = (/** @type {any} */ message) => this.heard(message);
    store.views.add(this.hear);
    this.timer = setInterval(() => this.tick(), 1000);
    this.draw();
    this.log.scrollTop = this.log.scrollHeight;
  }

  close() {
    clearInterval(this.timer);
    this.store.views.delete(this.hear);
  }

  get state() {
    return this.store.state;
  }

  get pending() {
    return this.state.turns.some((turn) => !turn.ended);
  }

  build() {
    const id = this.store.fresh();
    this.title = make("span", { class: "segmind-name" });
    this.modelList = make("datalist", { id: `segmind-models-${id}` });
    this.model = make("input", {
      class: "segmind-model", "aria-label": "Model", list: this.modelList.id, spellcheck: false,
      autocomplete: "off", onchange: () => this.store.say("model", { model: this.model.value.trim() }),
      // A list shows what fits the words in the box: all of it, once these are selected.
      onfocus: () => this.model.select(),
    });
    this.usage = make("span", { class: "segmind-usage" });
    this.system = make("textarea", {
      "aria-label": "System prompt", rows: 2, placeholder: "How the model is to answer",
      onchange: () => this.store.say("system", { text: this.system.value }),
    });
    this.head = make(
      "div", { class: "segmind-head" }, this.title, this.model, this.modelList, this.usage,
      make("details", { class: "segmind-system" }, make("summary", {}, "System prompt"), this.system),
    );
    this.empty = make("div", { class: "segmind-empty" });
    this.turns = make("div", { class: "segmind-turns" });
    this.log = make(
      "div",
      { class: "segmind-log", role: "log", "aria-live": "polite", "aria-label": "Conversation", tabIndex: 0,
        onscroll: () => this.scrolled() },
      this.empty, this.turns,
    );
    this.jump = make(
      "button",
      { type: "button", class: "segmind-jump", hidden: true, onclick: () => this.toLatest() },
      "↓ Latest",
    );
    this.notice = make("div", { class: "segmind-notice", role: "status" });
    this.stale = make("div", { class: "segmind-notice", role: "status" });
    this.editWords = make("span");
    this.editBar = make(
      "div", { class: "segmind-notice", role: "status", hidden: true }, this.editWords,
      this.tool("Cancel", "Leave the message as it was", () => this.endEdit()),
    );
    this.tray = make("div", { class: "segmind-tray" });
    this.options = make("ul", { class: "segmind-options", role: "listbox", "aria-label": "Variables", id: `segmind-options-${id}`, hidden: true });
    this.box = make("textarea", {
      class: "segmind-box", rows: 1, "aria-label": "Message", "aria-autocomplete": "list",
      "aria-controls": this.options.id, placeholder: "Ask about your notebook; {name} stands for a variable",
      oninput: () => this.typed(), onkeydown: (/** @type {any} */ e) => this.key(e),
      onpaste: (/** @type {any} */ e) => this.paste(e), onblur: () => setTimeout(() => this.fold(), 150),
      onfocus: () => this.store.say("names"),
    });
    this.picker = make("input", {
      type: "file", multiple: true, hidden: true, tabIndex: -1,
      onchange: () => {
        this.take(this.picker.files);
        this.picker.value = "";
      },
    });
    this.send = make("button", { type: "button", class: "segmind-send", onclick: () => this.sendOrStop() });
    this.attach = this.menu("Attach", "Attach a variable, the last plot or a file", (list) => this.attachables(list));
    this.more = this.menu("⋯", "More", (list) => this.others(list));
    this.form = make(
      "div",
      { class: "segmind-form",
        ondragover: (/** @type {any} */ e) => e.preventDefault(),
        ondrop: (/** @type {any} */ e) => {
          e.preventDefault();
          this.take(e.dataTransfer.files);
        } },
      this.editBar, this.tray, this.box, this.options, this.picker,
      make("div", { class: "segmind-bar" }, this.attach, this.more, make("span", { class: "segmind-hint" }), this.send),
    );
    this.root = make(
      "section", { class: "segmind-chat", "aria-label": "Chat" }, this.head,
      make("div", { class: "segmind-scroll" }, this.jump, this.log), this.notice, this.stale, this.form,
    );
  }

  /** @param {any} message */
  heard(message) {
    if (message.kind === "draft" && message.to === this.lastRef) this.takeDraft(message);
    if (message.kind === "file") this.filed(message);
    if (message.kind === "refused") this.giveBack(message.ref);
    if (message.kind === "turn" && message.turn.failed) this.giveBack(message.turn.ref);
    this.draw(message.kind === "turn" ? message.turn.id : undefined);
  }

  /** @param {string} [changed] the turn that is new or has changed */
  draw(changed) {
    const { state } = this;
    this.title.textContent = state.name || "Chat";
    if (document.activeElement !== this.model) this.model.value = state.model;
    this.modelList.replaceChildren(
      ...state.models.map(([slug, about]) => make("option", { value: slug }, about)),
    );
    if (document.activeElement !== this.system) this.system.value = state.system;
    this.usage.textContent = state.usage;
    this.notice.textContent = state.notice;
    this.notice.classList.toggle("segmind-alarm", state.alarm);
    this.drawTurns(changed);
    this.drawEdit();
    this.drawEmpty();
    this.drawSend();
  }

  /** @param {string} [changed] */
  drawTurns(changed) {
    const last = this.state.turns.at(-1);
    const waits = [...this.store.sending.values()];
    const rows = [...this.state.turns, ...waits];
    const wanted = new Set(rows.map((turn) => turn.id));
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    }
    /** @type {Element | null} */
    let next = this.turns.firstElementChild;
    for (const turn of rows) {
      const shown = JSON.stringify([turn.stage, turn.until, turn.html?.length, turn.text, turn === last]);
      let row = this.rows.get(turn.id);
      if (!row || row.shown !== shown) {
        const fresh = this.row(turn, turn === last);
        if (row) {
          if (next === row.element) next = fresh.element;
          row.element.replaceWith(fresh.element);
        }
        row = { ...fresh, shown };
        this.rows.set(turn.id, row);
      }
      if (row.element === next) next = next.nextElementSibling;
      else this.turns.insertBefore(row.element, next);
    }
    const row = changed && this.rows.get(changed);
    if (row && this.follows) this.reveal(row.element);
    this.jump.hidden = this.follows || !rows.length;
  }

  /** Show a new turn from its beginning: the question above, then as much as there is room for.
   *
   * @param {HTMLElement} element
   */
  reveal(element) {
    const top = element.offsetTop - this.turns.offsetTop;
    this.revealing = true;
    this.log.scrollTop = Math.min(top, this.log.scrollHeight);
    requestAnimationFrame(() => (this.revealing = false));
  }

  toLatest() {
    this.follows = true;
    this.log.scrollTop = this.log.scrollHeight;
    this.jump.hidden = true;
    this.box.focus();
  }

  scrolled() {
    if (this.revealing) return;
    const last = /** @type {HTMLElement | null} */ (this.turns.lastElementChild);
    const top = last ? last.offsetTop - this.turns.offsetTop : 0;
    this.follows = !last || this.log.scrollTop + this.log.clientHeight > top + 24;
    this.jump.hidden = this.follows;
  }

  /**
   * @param {Turn} turn
   * @param {boolean} isLast
   */
  row(turn, isLast) {
    const said = make("div", { class: "segmind-said" }, turn.text && make("div", { class: "segmind-words" }, turn.text));
    if (turn.sent.length) said.append(make("div", { class: "segmind-sent" }, ...turn.sent.map(chip)));
    const own = make("div", { class: "segmind-tools" }, turn.text && copyButton("Copy message", () => turn.text));
    if (turn.ended) own.append(this.tool("Edit", "Edit and send again", () => this.edit(turn)));
    const element = make("article", { class: "segmind-turn" }, make("div", { class: "segmind-mine" }, said, own));
    if (!turn.ended) {
      const clock = make("span", { class: "segmind-clock" });
      element.append(make("div", { class: `segmind-pending segmind-${turn.stage}` }, make("span", { class: "segmind-dot", "aria-hidden": "true" }, "●"), make("strong", {}, stageWords(turn)), clock));
      const update = () => {
        const seconds = (performance.now() - (turn.began_ms ?? performance.now())) / 1000;
        clock.textContent = turn.stage === "waiting" || turn.stage === "unheard" ? "" : ` ${duration(seconds)}`;
      };
      update();
      return { element, update };
    }
    const reply = make("div", { class: "segmind-reply-place" });
    showReply(reply, turn);
    const theirs = make("div", { class: "segmind-tools" }, turn.reply && copyButton("Copy reply", () => turn.reply ?? ""));
    if (isLast) theirs.append(this.tool("Again", "Ask this once more", () => this.store.say("again", { ref: this.nextRef() })));
    element.append(make("div", { class: "segmind-theirs" }, reply, theirs));
    return { element, update: () => {} };
  }

  /**
   * @param {string} label
   * @param {string} title
   * @param {() => void} act
   */
  tool(label, title, act) {
    return make("button", { type: "button", class: "segmind-tool", title, "aria-label": title, onclick: act }, label);
  }

  drawEmpty() {
    this.empty.hidden = this.state.turns.length > 0 || this.store.sending.size > 0;
    if (this.empty.hidden) return this.empty.replaceChildren();
    this.empty.replaceChildren(
      make("p", {}, "Ask about what is in this notebook. For a start:"),
      ...this.state.prompts.map((prompt) =>
        make("button", { type: "button", class: "segmind-prompt", onclick: () => this.begin(prompt) }, prompt.text)),
    );
  }

  drawSend() {
    const stops = this.pending && !this.hasDraft;
    this.send.textContent = stops ? "Stop" : "Send";
    this.send.title = stops ? "Give up what is under way; the model may still be billed" : "Send (Enter)";
    this.send.disabled = !stops && !this.hasDraft;
    this.send.classList.toggle("segmind-stops", stops);
  }

  get hasDraft() {
    return Boolean(this.box.value.trim() || this.chips.length);
  }

  /** @param {{text: string, plot?: boolean, error?: boolean}} prompt */
  begin(prompt) {
    if (prompt.plot) this.addChip({ id: "plot", label: "last plot" });
    if (prompt.error) this.addChip({ id: "error", label: "last error" });
    this.box.value = prompt.text;
    this.typed();
    this.submit();
  }

  sendOrStop() {
    if (this.hasDraft) this.submit();
    else if (this.pending) this.store.say("stop");
    this.box.focus();
  }

  nextRef() {
    this.lastRef = this.store.fresh();
    return this.lastRef;
  }

  submit() {
    if (!this.hasDraft) return;
    if (this.chips.some((chip) => chip.file && chip.about === undefined)) {
      return this.tell("A file is still on its way. Send once its size shows.", true);
    }
    const ref = this.nextRef();
    const text = this.box.value;
    const chips = this.chips;
    this.store.sending.set(ref, {
      id: `ref-${ref}`, at: 0, ref, text, stage: "unheard", ended: false, elapsed_s: 0,
      sent: chips.map((chip) => ({ label: chip.label, about: chip.about ?? "", thumb: chip.thumb ?? "" })),
    });
    const instead = this.editing?.id;
    this.store.say("send", { ref, text, attached: chips.map((chip) => chip.id), model: this.model.value.trim(), instead });
    this.lastSent = { ref, text, chips, instead };
    this.put(this.editing ?? { text: "", chips: [] });
    this.editing = null;
    this.follows = true;
    this.draw(`ref-${ref}`);
  }

  /** Words that were refused, or failed, go back into the box, where that is empty.
   *
   * @param {string | undefined} ref
   */
  giveBack(ref) {
    if (!this.lastSent || this.lastSent.ref !== ref || this.hasDraft) return;
    const { instead } = this.lastSent;
    this.editing = instead ? { id: instead, text: "", chips: [] } : null;
    this.put(this.lastSent);
    this.lastSent = undefined;
  }

  /** Fill the box.
   *
   * @param {{text: string, chips: Chip[]}} draft
   */
  put(draft) {
    this.box.value = draft.text;
    this.chips = draft.chips;
    this.drawChips();
    this.typed();
  }

  /** Ask for the words of a message, and for what went with them.
   *
   * @param {Turn} turn
   */
  edit(turn) {
    this.store.say("edit", { ref: this.nextRef(), id: turn.id });
  }

  /** @param {{id: string, text: string, attached: Chip[]}} draft */
  takeDraft(draft) {
    const { text, chips } = this.editing ?? { text: this.box.value, chips: this.chips };
    this.editing = { id: draft.id, text, chips };
    this.put({ text: draft.text, chips: draft.attached });
    this.box.focus();
  }

  endEdit() {
    if (!this.editing) return;
    this.put(this.editing);
    this.editing = null;
    this.drawEdit();
    this.box.focus();
  }

  /** Say what sending will do to the message that is edited, and to what came after it. */
  drawEdit() {
    const at = this.state.turns.findIndex((turn) => turn.id === this.editing?.id);
    if (at < 0) this.editing = null;
    const later = this.state.turns.length - at - 1;
    const drops = later ? `, and drops ${later === 1 ? "the turn" : `the ${later} turns`} after it` : "";
    const words = `Sending replaces this message and its reply${drops}. Escape leaves all as it was. `;
    if (this.editWords.textContent !== words) this.editWords.textContent = this.editing ? words : "";
    this.editBar.hidden = !this.editing;
    for (const [n, turn] of this.state.turns.entries()) {
      this.rows.get(turn.id)?.element.classList.toggle("segmind-leaves", Boolean(this.editing) && n >= at);
    }
  }

  /**
   * @param {string} words
   * @param {boolean} alarm
   */
  tell(words, alarm) {
    this.store.state = { ...this.state, notice: words, alarm };
    this.notice.textContent = words;
    this.notice.classList.toggle("segmind-alarm", alarm);
  }

  tick() {
    for (const row of this.rows.values()) row.update();
    this.checkKept();
  }

  /** Say when the transcripts of this page, which the file keeps, have remained behind: outputs of a
   * page that was reloaded hear no more of the kernel. Elsewhere they need a moment. */
  checkKept() {
    const child = this.root.closest(".jp-OutputArea-child");
    const keeps = child?.nextElementSibling?.querySelector(".segmind-kept");
    this.behind = keeps && !document.querySelector(`.segmind-kept-${this.state.kept}`) ? this.behind + 1 : 0;
    const words = this.behind < 3 ? "" : "This page was reloaded: the newest turns do not reach the saved notebook. " +
      `Run \`${this.state.variable}\` in a cell again before you save, or choose Save as Markdown.`;
    if (this.stale.textContent !== words) this.stale.textContent = words;
  }

  // Writing.

  typed() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight + 2}px`;
    this.complete();
    this.drawSend();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!this.options.hidden && this.chose(event)) return;
    const meant = enterMeans(event, breaksLines());
    if (meant === "send") {
      event.preventDefault();
      this.submit();
    } else if (meant === "break" && event.altKey) {
      event.preventDefault();
      this.box.setRangeText("\n", this.box.selectionStart, this.box.selectionEnd, "end");
      this.typed();
    } else if (event.key === "ArrowUp" && !this.hasDraft && !event.isComposing) {
      const last = this.state.turns.at(-1);
      if (last?.ended) {
        event.preventDefault();
        this.edit(last);
      }
    } else if (event.key === "Escape" && this.editing) {
      event.preventDefault();
      this.endEdit();
    }
  }

  complete() {
    const brace = openBrace(this.box.value, this.box.selectionStart);
    const names = brace ? this.state.names.filter(([name]) => name.startsWith(brace.typed)).slice(0, 50) : [];
    this.brace = names.length ? brace : null;
    this.options.hidden = !this.brace;
    this.choice = 0;
    this.options.replaceChildren(
      ...names.map(([name, about], index) =>
        make("li", { role: "option", id: `${this.options.id}-${index}`, "aria-selected": String(index === 0),
          onmousedown: (/** @type {any} */ e) => {
            e.preventDefault();
            this.insert(name);
          } }, make("code", {}, name), make("span", { class: "segmind-about" }, about))),
    );
    this.mark();
  }

  fold() {
    this.options.hidden = true;
  }

  mark() {
    [...this.options.children].forEach((option, index) => {
      option.setAttribute("aria-selected", String(index === this.choice));
      if (index === this.choice) option.scrollIntoView({ block: "nearest" });
    });
    if (this.options.hidden) this.box.removeAttribute("aria-activedescendant");
    else this.box.setAttribute("aria-activedescendant", `${this.options.id}-${this.choice}`);
  }

  /** @param {KeyboardEvent} event */
  chose(event) {
    const count = this.options.children.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.choice = (this.choice + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.mark();
    } else if ((event.key === "Enter" && !event.isComposing) || event.key === "Tab") {
      this.insert(this.options.children[this.choice].firstElementChild?.textContent ?? "");
    } else if (event.key === "Escape") {
      this.fold();
    } else return false;
    event.preventDefault();
    return true;
  }

  /** @param {string} name */
  insert(name) {
    if (!this.brace) return;
    const { start, typed } = this.brace;
    const closes = this.box.value[start + typed.length] === "}" ? 1 : 0;
    this.box.setRangeText(`${name}}`, start, start + typed.length + closes, "end");
    this.fold();
    this.typed();
    this.box.focus();
  }

  /** Write a variable where the caret was.
   *
   * @param {string} name
   */
  write(name) {
    this.box.setRangeText(`{${name}}`, this.box.selectionStart, this.box.selectionEnd, "end");
    this.typed();
    this.box.focus();
  }

  // Attaching.

  /** @param {Chip} chip */
  addChip(chip) {
    this.chips = [...this.chips.filter((known) => known.id !== chip.id), chip];
    this.drawChips();
    this.drawSend();
  }

  drawChips() {
    this.tray.replaceChildren(
      ...this.chips.map((chip) => {
        const label = chip.about === undefined && chip.file ? `${chip.label} …` : chip.label;
        const element = make("button", {
          type: "button", class: "segmind-chip", title: `Remove ${chip.label}`, "aria-label": `Remove ${chip.label}`,
          onclick: () => this.remove(chip),
          onkeydown: (/** @type {any} */ e) => (e.key === "Delete" || e.key === "Backspace") && this.remove(chip),
        }, thumb(chip.thumb), make("span", {}, label), chip.about && make("span", { class: "segmind-about" }, chip.about), make("span", { "aria-hidden": "true" }, "✕"));
        return element;
      }),
    );
  }

  /** @param {Chip} chip */
  remove(chip) {
    this.chips = this.chips.filter((known) => known !== chip);
    this.drawChips();
    this.drawSend();
    this.box.focus();
  }

  /** @param {ClipboardEvent} event */
  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.take(files);
  }

  /** @param {Iterable<File>} files */
  async take(files) {
    for (const file of files) {
      if (file.size > this.state.max_file_bytes) {
        const mb = (/** @type {number} */ n) => (n / 1e6).toFixed(0);
        this.tell(`${file.name} has ${mb(file.size)} MB; a chat takes up to ${mb(this.state.max_file_bytes)} MB. ` +
          `Put it beside the notebook, run path = Path("${file.name}"), and write {path}.`, true);
        continue;
      }
      const id = `file-${this.store.fresh()}`;
      const image = file.type.startsWith("image/") && file.type !== "image/svg+xml";
      const thumb = image ? URL.createObjectURL(file) : undefined;
      this.addChip({ id, label: file.name || "pasted picture", file: id, thumb });
      const cuts = parts(file.size, this.state.chunk_bytes);
      for (const [number, [begin, end]] of cuts.entries()) {
        const bytes = await file.slice(begin, end).arrayBuffer();
        this.store.say("file", { id, name: file.name || "pasted picture", part: number, parts: cuts.length }, [bytes]);
      }
    }
  }

  /** @param {{id: string, about?: string, error?: string}} message */
  filed(message) {
    const known = this.chips.find((chip) => chip.id === message.id);
    if (!known) return;
    if (message.error) {
      this.remove(known);
      this.tell(message.error, true);
    } else {
      this.chips = this.chips.map((chip) => (chip === known ? { ...chip, about: message.about ?? "" } : chip));
      this.drawChips();
    }
  }

  /**
   * @param {string} label
   * @param {string} title
   * @param {(list: HTMLElement) => void} fill
   */
  menu(label, title, fill) {
    const list = make("div", { class: "segmind-menu", role: "group", "aria-label": title });
    const details = make("details", { class: "segmind-more" }, make("summary", { title, "aria-label": title }, label), list);
    details.addEventListener("toggle", () => details.open && fill(list));
    details.addEventListener("keydown", (/** @type {any} */ e) => {
      if (e.key === "Escape") {
        details.open = false;
        details.firstElementChild.focus();
      }
    });
    details.addEventListener("focusout", (/** @type {any} */ e) => {
      if (e.relatedTarget && !details.contains(e.relatedTarget)) details.open = false;
    });
    list.addEventListener("click", (/** @type {any} */ e) => {
      if (e.target.closest("button")?.dataset.stays !== "true") details.open = false;
    });
    return details;
  }

  /** @param {HTMLElement} list */
  attachables(list) {
    this.store.say("names");
    const item = (/** @type {string} */ label, /** @type {string} */ about, /** @type {() => void} */ act) =>
      make("button", { type: "button", onclick: act }, make("span", {}, label), make("span", { class: "segmind-about" }, about));
    list.replaceChildren(
      item("File…", "or paste, or drop one", () => this.picker.click()),
      ...(this.state.plot ? [item("Last plot", "what a cell showed last", () => this.addChip({ id: "plot", label: "last plot" }))] : []),
      ...this.state.names.slice(0, 40).map(([name, about]) => item(name, about, () => this.write(name))),
    );
  }

  /** @param {HTMLElement} list */
  others(list) {
    const item = (/** @type {string} */ label, /** @type {() => void} */ act, /** @type {boolean} */ off = false) =>
      make("button", { type: "button", onclick: act, disabled: off }, label);
    const none = !this.state.turns.length;
    const breaks = breaksLines();
    const clear = make("button", { type: "button", disabled: none, onclick: () => {
      if (clear.dataset.stays === "true") {
        const count = this.state.turns.length;
        clear.textContent = `Forget ${count} turn${count === 1 ? "" : "s"}: there is no way back`;
        delete clear.dataset.stays;
      } else this.store.say("clear");
    } }, "Clear…");
    clear.dataset.stays = "true";
    list.replaceChildren(
      item("Save as Markdown", () => this.store.say("save"), none),
      item(breaks ? "Enter sends" : "Enter breaks the line", () => {
        try {
          localStorage.setItem(ENTER, breaks ? "" : "1");
        } catch {
          this.tell("This page cannot remember that.", true);
        }
      }),
      clear,
    );
  }
}

function breaksLines() {
  try {
    return Boolean(localStorage.getItem(ENTER));
  } catch {
    return false;
  }
}

/** @param {Turn} turn */
function stageWords(turn) {
  if (turn.until) return `Limit reached, goes on at ${turn.until}`;
  const words = { unheard: "On its way to the kernel, which may be busy", waiting: "Waits for the turn before it" };
  return /** @type {any} */ (words)[turn.stage] ?? turn.stage[0].toUpperCase() + turn.stage.slice(1);
}

/** @param {string | undefined} source */
function thumb(source) {
  const known = source && /^(data:image\/png;base64,|blob:)/.test(source);
  return known && make("img", { src: source, alt: "", class: "segmind-thumb" });
}

/** @param {Sent} item */
function chip(item) {
  return make("span", { class: "segmind-object" }, thumb(item.thumb), make("span", {}, item.label), item.about && make("span", { class: "segmind-about" }, item.about));
}

export default {
  /** @param {{model: any}} context */
  initialize({ model }) {
    storeOf(model);
  },
  /** @param {{model: any, el: HTMLElement}} context */
  render({ model, el }) {
    const view = new View(storeOf(model), el);
    return () => view.close();
  },
};
