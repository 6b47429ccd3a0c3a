# What .ci/run and .ci/nightly share: an interpreter, a fresh environment, the README's commands.
# shellcheck shell=bash

export CI=true PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 UV_QUIET=1
# Without bytecode every kernel and every subprocess would compile pandas and matplotlib again.
unset PYTHONDONTWRITEBYTECODE PIP_NO_COMPILE
# Two cores have no use for the threads of a linear algebra library.
export OPENBLAS_NUM_THREADS=1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

started=$SECONDS
say() { printf '\n== %s (after %d s)\n' "$*" "$((SECONDS - started))"; }

# An interpreter of this minor version: on the PATH, or where pyenv keeps them.
python_of() {
  local found
  for found in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    if [ -x "$found" ] && "$found" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')"; then
      echo "$found"
      return
    fi
  done
  echo "Python $1 is not here; install it, or set PYENV_ROOT." >&2
  return 1
}

# What hangs beyond the reach of a test's own bound, such as the end of an interpreter, is a failure
# as well.
bounded() { timeout --kill-after=30 40m "$@"; }

# uv makes the environments: a second or two each, where pip takes a minute.
have_uv() {
  command -v uv >/dev/null && return
  "$(python_of 3.11)" -m venv "$scratch/uv"
  "$scratch/uv/bin/pip" install uv
  PATH="$scratch/uv/bin:$PATH"
}

# A fresh environment, active from here on, with what is named installed.
environment() { # version, name, what uv is to install ...
  local python
  python=$(python_of "$1")
  uv venv --seed --python "$python" "$scratch/$2"
  # shellcheck disable=SC1091
  source "$scratch/$2/bin/activate"
  if [ "$#" -gt 2 ]; then uv pip install "${@:3}"; fi
}

have_chromium() {
  command -v chromium >/dev/null && return
  say "Chromium, for the browser tests"
  local as_root
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -qq
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu >/dev/null
}

lint() {
  ruff check .
  ruff format --check .
  mypy
  lint-imports
  lint_javascript
}

# The types of the chat's JavaScript, where npm can fetch what reads them.
lint_javascript() {
  local chat=$PWD/segmind_jupyter/notebook/chat/chat.js
  if npm install --silent --no-audit --no-fund --prefix "$scratch/npm" typescript@5; then
    "$scratch/npm/node_modules/.bin/tsc" --noEmit --checkJs --allowJs --strict --target es2022 --module es2022 \
      --lib es2022,dom,dom.iterable "$chat"
  else
    say "chat.js is not type-checked: npm is not here, or cannot fetch typescript"
  fi
}

# The README's second command, with options for pytest.
tested() { PYTEST_ADDOPTS="$*" bounded bash -c "pip install -e '.[test]' && python -m pytest"; }

# The README's first command: a notebook on the simulator, as a page. What it writes is not kept.
quickstart() {
  bounded bash -c "pip install -e '.[lab]' && jupyter nbconvert --to html --execute examples/quickstart.ipynb"
  grep -q "(simulated) 1 image: 800x400 PNG" examples/quickstart.html
  rm examples/quickstart.html
}
