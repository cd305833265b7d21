#!/bin/sh
# The age program as an independent judge of parts: what part_sealer makes, age decrypts; what age
# encrypts, part_opener opens; what age refuses, part_opener refuses.
#   age_oracle.sh PATH-OF-age_tool
set -eu

tool=$(realpath "$1")
if ! command -v age >/dev/null 2>&1; then
    echo "skipped: the age program is not installed"
    [ -z "${SEALPOST_REQUIRE_ALL:-}" ] || exit 1
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
checks=0

fail() {
    echo "failed: $1"
    exit 1
}

"$tool" identity key
for size in 0 1 65535 65536 65537 131072 1000000 8388609; do
    head -c "$size" /dev/urandom >plain

    "$tool" seal key.raw <plain >ours.age || fail "sealing $size bytes"
    age -d -i key ours.age >back || fail "age decrypts our part of $size bytes"
    cmp plain back || fail "our part of $size bytes comes back from age"

    age -e -i key -o theirs.age plain || fail "age encrypts $size bytes"
    "$tool" open key.raw <theirs.age >back || fail "opening age's payload of $size bytes"
    cmp plain back || fail "age's payload of $size bytes comes back"
    checks=$((checks + 2))

    # One byte less, one more, and one altered in the last tag: both refuse.
    length=$(wc -c <ours.age)
    head -c $((length - 1)) ours.age >shorter.age
    { cat ours.age; printf x; } >longer.age
    head -c $((length - 1)) ours.age >altered.age
    last=$(tail -c 1 ours.age | od -An -tu1 | tr -d ' ')
    printf "\\$(printf %03o $(((last + 1) % 256)))" >>altered.age
    for bad in shorter longer altered; do
        if age -d -i key "$bad.age" >back 2>/dev/null; then
            fail "age refuses a $bad part of $size bytes"
        fi
        if "$tool" open key.raw <"$bad.age" >back 2>/dev/null; then
            fail "a $bad part of $size bytes is refused"
        fi
        checks=$((checks + 2))
    done
done
[ "$checks" -eq 64 ] || fail "$checks checks ran instead of 64"
echo "ok: $checks checks against $(age --version)"
