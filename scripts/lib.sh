# Shared by the scripts: what a fresh machine needs, and the environment made from the lock. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/build/venv

missing() {
  echo "$0: $1 is missing; on Debian: apt-get install $2" >&2
  exit 78
}

need_tools() {
  command -v git > /dev/null || missing git "git ca-certificates"
  command -v python3 > /dev/null || missing python3 "python3 python3-venv"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || missing "Python 3.11 or newer" "python3 python3-venv"
  python3 -c 'import ensurepip, venv' 2> /dev/null || missing "python3-venv" "python3-venv"
}

# in_turn NAME COMMAND...: two runs at once take turns.
in_turn() {
  mkdir -p "$root/build"
  exec 9> "$root/build/.$1"
  flock 9
  "${@:2}" 9>&-
  exec 9>&-
}

# Makes build/venv from the lock, once per lock and interpreter. Only files whose hash the lock has are installed.
need_environment() {
  need_tools
  in_turn making-environment make_environment
}

make_environment() {
  local wanted
  wanted=$( (python3 -c 'import sys; print(sys.executable, sys.version)'; cat "$root/scripts/requirements.lock") | sha256sum)
  if [ "$(cat "$venv/made-from" 2> /dev/null)" = "$wanted" ]; then return; fi
  echo "making the environment build/venv from the lock" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  python3 "$root/scripts/locked.py" environment > "$root/build/environment.lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: -r "$root/build/environment.lock"
  python3 "$root/scripts/locked.py" beside > "$root/build/beside.lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: --target "$venv/newest-client" -r "$root/build/beside.lock"
  echo "$wanted" > "$venv/made-from"
}

# Builds dist/aimem unless it was built from exactly these files by exactly this interpreter.
need_build() {
  need_tools
  in_turn building build_if_stale
}

build_if_stale() {
  local now
  now=$( (python3 -c 'import sys; print(sys.version)'; cd "$root" && find aimem man completions scripts LICENSE -type f \
    -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum)
  if [ -x "$root/dist/aimem" ] && [ "$(cat "$root/build/built-from" 2> /dev/null)" = "$now" ]; then return; fi
  "$root/scripts/build" >&2
  echo "$now" > "$root/build/built-from"
}
