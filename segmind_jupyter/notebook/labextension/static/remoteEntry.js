// Colours %%claude cells as the Markdown that they are, in JupyterLab 4 and Notebook 7, where an
// apostrophe would turn the rest of them into a Python string. Written by hand, so that nothing has
// to be built: what it fills at the end is the container that module federation asks for.
(() => {
  const MARKDOWN = "text/x-markdown"; // its maths would colour "$5 and $10"
  const CLAUDE = /^(?:[ \t]*(?:#.*)?\r?\n)*%%claude(?!\S)(?!.*\s--alt\b)/; // comments may stand above it; below --alt stands code

  /** Gives the cells of a notebook their language, as they come and as one types. */
  function colour(notebook) {
    const ours = new WeakSet();

    function look(cell) {
      const isClaude = CLAUDE.test(cell.sharedModel.getSource());
      if (isClaude) {
        ours.add(cell);
        cell.mimeType = MARKDOWN;
      } else if (ours.delete(cell)) {
        cell.mimeType = notebook.codeMimetype;
      }
    }

    function follow() {
      for (const cell of notebook.model?.cells ?? []) {
        if (cell.type === "code") {
          cell.contentChanged.connect(look); // a second time does nothing
          cell.mimeTypeChanged.connect(look); // a kernel that starts sets it anew
          look(cell);
        }
      }
    }

    function open() {
      notebook.model?.cells.changed.connect(follow);
      follow();
    }

    notebook.modelChanged.connect(open);
    open();
  }

  const plugin = {
    id: "segmind-jupyter:markdown",
    description: "Colours %%claude cells as Markdown",
    autoStart: true,
    activate: (app) => {
      app.docRegistry.addWidgetExtension("Notebook", {
        createNew: (panel) => colour(panel.content),
      });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB["segmind-jupyter"] = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
