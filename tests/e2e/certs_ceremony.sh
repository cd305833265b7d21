#!/bin/bash
# The whole ceremony of the demo federation by commands, judged by stock OpenSSL, and a leaf from a
# stock OpenSSL CA judged by us. Usage: certs_ceremony.sh SEALPOST-CERTS. Prints TAP.
set -u
certs=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
count=0
failed=0

check() { # NAME COMMAND…: it must succeed
    local name=$1
    shift
    count=$((count + 1))
    "$@" >new 2>&1
    local got=$?
    mv new out
    if [ $got -eq 0 ]; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name (exit $got)"
        sed 's/^/# /' out
        failed=1
    fi
}

says() { # NAME TEXT: the last command printed it
    cp out said
    check "$1" grep -q -- "$2" said
}

refuse() { # NAME EXIT TEXT COMMAND…: it must fail so, and say so
    local name=$1 code=$2 text=$3
    shift 3
    count=$((count + 1))
    "$@" >out 2>&1
    local got=$?
    if [ $got -eq "$code" ] && grep -q -- "$text" out; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name (exit $got, wanted $code and \"$text\")"
        sed 's/^/# /' out
        failed=1
    fi
}

fact() { # KEY: of the JSON in out
    grep -o "\"$1\":\"\?[^\",}]*" out | head -1 | sed 's/^"[^"]*":"\?//'
}

equals() { # NAME GOT WANTED
    check "$1: $3" [ "$2" = "$3" ]
}

passphrase() { # DIR
    mkdir -p "$1" && chmod 700 "$1"
    (umask 077 && head -c 32 /dev/urandom | base64 >"$1/passphrase")
}

agencies="EE.CUSTOMS EE.POLICE LT.CUSTOMS LT.POLICE LV.CUSTOMS LV.POLICE"

domain() { # AGENCY
    echo "$1" | tr 'A-Z' 'a-z' | awk -F. '{print $2 "." $1 ".example"}'
}

home() { # AGENCY
    case $1 in EE.*) echo tallinn ;; LV.*) echo riga ;; *) echo vilnius ;; esac
}

# --- root keys and root, 2 of 3 ---
passphrase root-keys
passphrase timestamp
for name in first second third; do
    check "root key $name" "$certs" keystore init --purpose root --owner "$name" \
        --to "root-keys/$name.key" --cost daemon
done
check "timestamp key" "$certs" keystore init --purpose timestamp --owner "timestamp service" \
    --to timestamp/timestamp.key --cost daemon
equals "key files are private" "$(stat -c %a root-keys/first.key)" 600
refuse "a key is not overwritten" 1 exists "$certs" keystore init --purpose root --owner x \
    --to root-keys/first.key --cost daemon
check "root init" "$certs" root init --federation baltic.example --threshold 2 --to root.new.dsse \
    --key root-keys/first.key --key root-keys/second.key --key root-keys/third.key \
    --timestamp-key timestamp/timestamp.key
check "root sign, third" "$certs" root sign root.new.dsse --key root-keys/third.key
refuse "one signature is not enough" 1 "1 of 2" "$certs" root publish root.new.dsse \
    --federation federation
refuse "nobody signs twice" 1 exists "$certs" root sign root.new.dsse --key root-keys/third.key
refuse "a timestamp key is no root key" 1 wrong-usage "$certs" root sign root.new.dsse \
    --key timestamp/timestamp.key
check "root sign, first" "$certs" root sign root.new.dsse --key root-keys/first.key
check "root publish" "$certs" root publish root.new.dsse --federation federation
check "root verify" "$certs" root verify federation/root.dsse

# --- brokers ---
for name in tallinn riga vilnius; do
    check "broker $name" "$certs" broker init "$name" --keys "brokers/$name/keys" \
        --to "brokers/$name/public.yaml"
done

# --- agencies: CA, keys, certificate, list, statement ---
algorithm=p384
for agency in $agencies; do
    d=$(domain "$agency")
    passphrase "cas/$agency"
    check "CA of $agency ($algorithm)" "$certs" agency init "$agency" --trust-domain "$d" \
        --key "cas/$agency/ca.key" --federation federation --algorithm $algorithm --cost daemon
    check "agent keys of $agency" "$certs" agent init "$agency" --keys "agents/$agency/keys"
    check "certificate of $agency" "$certs" agency issue "$agency" --trust-domain "$d" \
        --ca-key "cas/$agency/ca.key" --keys "agents/$agency/keys" --federation federation
    check "list of $agency" "$certs" crl issue "$agency" --ca-key "cas/$agency/ca.key" \
        --federation federation
    check "statement of $agency" "$certs" keys issue "$agency" --keys "agents/$agency/keys" \
        --federation federation
    f=federation/agencies/$agency
    check "openssl verify $agency" openssl verify -x509_strict -crl_check -CAfile "$f/ca.pem" \
        -CRLfile "$f/crl.pem" "$f/chain.pem"
    check "openssl x509 names $agency" bash -c "openssl x509 -in '$f/chain.pem' -noout \
        -ext subjectAltName | grep -qx '    URI:spiffe://$d/agent/$agency'"
    case $algorithm in
    p384) algorithm=rsa3072 ;;
    rsa3072) algorithm=ed25519 ;;
    *) algorithm=p384 ;;
    esac
done
check "name constraints" bash -c "openssl x509 -in federation/agencies/EE.POLICE/ca.pem -noout \
    -ext nameConstraints,basicConstraints | grep -q 'URI:police.ee.example' &&
    openssl x509 -in federation/agencies/EE.POLICE/ca.pem -noout -ext basicConstraints |
    grep -q 'CA:TRUE, pathlen:0'"

# --- directory ---
{
    echo "federation: baltic.example"
    echo "agencies:"
    for agency in $agencies; do
        echo "  - name: $agency"
        echo "    names: [\"en=$agency\"]"
        echo "    trust_domain: $(domain "$agency")"
        echo "    ca: federation/agencies/$agency/ca.pem"
        echo "    ceiling: CONFIDENTIAL"
        echo "    homes: [$(home "$agency")]"
    done
    echo "brokers:"
    port=4500
    for name in tallinn riga vilnius; do
        port=$((port + 1))
        echo "  - name: $name"
        echo "    endpoint: \"tcp://127.0.0.1:$port\""
        echo "    public: brokers/$name/public.yaml"
        echo "    ceiling: CONFIDENTIAL"
    done
    echo "links:"
    echo "  - {between: [tallinn, riga], ceiling: CONFIDENTIAL}"
    echo "  - {between: [riga, vilnius], ceiling: CONFIDENTIAL}"
    echo "groups:"
    echo "  - {name: borders, agencies: [LV.CUSTOMS, EE.CUSTOMS]}"
} >directory.yaml
check "directory init" "$certs" directory init --from directory.yaml --federation federation \
    --to directory.new.dsse
check "directory sign, second" "$certs" directory sign directory.new.dsse \
    --federation federation --key root-keys/second.key
refuse "one signature is not enough for it" 1 "1 of 2" "$certs" directory publish \
    directory.new.dsse --federation federation
check "directory sign, first" "$certs" directory sign directory.new.dsse \
    --federation federation --key root-keys/first.key
says "it says what changes" "^+ link riga - vilnius"
check "directory publish" "$certs" directory publish directory.new.dsse --federation federation
check "audit policy" grep -q "^log baltic.example/riga+" federation/audit-policy
refuse "no timestamp yet" 1 stale-timestamp "$certs" directory verify --federation federation
check "timestamp sign" "$certs" timestamp sign --federation federation --key timestamp/timestamp.key
check "everything holds" "$certs" directory verify --federation federation \
    --root federation/root.dsse --json
check "for all agencies" [ "$(grep -o '"state":"ok"' out | wc -l)" -eq 6 ]
refuse "the same directory does not follow itself" 1 replay "$certs" directory publish \
    directory.new.dsse --federation federation

# --- the timestamp service ---
"$certs" timestamp sign --federation federation --key timestamp/timestamp.key --watch >ready 2>log &
service=$!
for _ in $(seq 100); do grep -q ready ready && break; sleep 0.1; done
check "the service is ready" grep -qx ready ready
sed -i 's/^federation:.*/&\nvalid: 30d/' directory.yaml
sed -i '/tallinn, riga/s/CONFIDENTIAL/RESTRICTED/' directory.yaml
check "second directory" "$certs" directory init --from directory.yaml --federation federation \
    --to directory.2.dsse
says "it says the change" "ceiling: CONFIDENTIAL -> RESTRICTED"
check "sign" "$certs" directory sign directory.2.dsse --federation federation \
    --key root-keys/third.key
check "sign again" "$certs" directory sign directory.2.dsse --federation federation \
    --key root-keys/second.key
check "publish" "$certs" directory publish directory.2.dsse --federation federation
for _ in $(seq 100); do
    "$certs" timestamp show --federation federation --json >out
    [ "$(fact directory_version)" = 2 ] && break
    sleep 0.1
done
equals "the service signed over it" "$(fact directory_version)" 2
kill -TERM $service
wait $service
equals "the service stops" $? 0

# --- a root that follows ---
check "root key fourth" "$certs" keystore init --purpose root --owner fourth \
    --to root-keys/fourth.key --cost daemon
check "next root" "$certs" root init --previous federation/root.dsse --threshold 2 \
    --to root.2.dsse \
    --key root-keys/first.key --key root-keys/second.key --key root-keys/fourth.key \
    --timestamp-key timestamp/timestamp.key
check "fourth signs" "$certs" root sign root.2.dsse --key root-keys/fourth.key
check "first signs" "$certs" root sign root.2.dsse --key root-keys/first.key
refuse "the old keys must sign too" 1 "1 of 2" "$certs" root publish root.2.dsse \
    --federation federation
check "third signs, whom it drops" "$certs" root sign root.2.dsse --key root-keys/third.key \
    --previous federation/root.dsse
cp federation/root.dsse pinned.dsse
check "publish the next root" "$certs" root publish root.2.dsse --federation federation
says "it says that the directory lacks signatures" "directory holds *no"
refuse "until its holders signed the directory again" 1 "1 of 2" "$certs" directory verify \
    --federation federation --root pinned.dsse
check "sign the directory that stands" "$certs" directory sign federation/directory.dsse \
    --federation federation --key root-keys/first.key
refuse "the timestamp names other bytes" 1 bad-digest "$certs" directory verify \
    --federation federation
check "timestamp 2" "$certs" timestamp sign --federation federation --key timestamp/timestamp.key
check "it holds from the old pin on" "$certs" directory verify --federation federation \
    --root pinned.dsse
check "the old one stands beside it" cmp federation/root.1.dsse pinned.dsse

# --- revocation ---
check "revoke" "$certs" crl revoke LV.CUSTOMS --ca-key cas/LV.CUSTOMS/ca.key \
    --trust-domain customs.lv.example --compromised-since 1h --federation federation
check "verify sees it" bash -c "'$certs' directory verify --federation federation --json |
    grep -q '\"agency\":\"LV.CUSTOMS\",\"state\":\"revoked\"'"
check "openssl sees it" bash -c "! openssl verify -crl_check \
    -CAfile federation/agencies/LV.CUSTOMS/ca.pem -CRLfile federation/agencies/LV.CUSTOMS/crl.pem \
    federation/agencies/LV.CUSTOMS/chain.pem"
check "rotate" "$certs" keys rotate EE.POLICE --keys agents/EE.POLICE/keys --federation federation

# --- stock OpenSSL CAs: RSA through `openssl x509 -req`, P-256 through `openssl ca` ---
check "request" "$certs" agent csr LT.POLICE --keys agents/LT.POLICE/keys \
    --trust-domain police.lt.example --to lt.csr
check "openssl reads the request" openssl req -in lt.csr -verify -noout
cat >leaf.ext <<EXT
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectAltName = URI:spiffe://police.lt.example/agent/LT.POLICE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
EXT
ca_ext=(-addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext
    "keyUsage=critical,keyCertSign,cRLSign" -addext "subjectKeyIdentifier=hash")
openssl req -x509 -newkey rsa:3072 -nodes -keyout rsa.key -out rsa.pem -days 400 \
    -subj "/O=Lithuania/CN=Police issuing CA" "${ca_ext[@]}" 2>/dev/null
check "openssl x509 -req (RSA)" openssl x509 -req -in lt.csr -CA rsa.pem -CAkey rsa.key \
    -CAcreateserial -days 29 -extfile leaf.ext -out lt.pem
check "import from an RSA CA" "$certs" agent import LT.POLICE --trust-domain police.lt.example \
    --federation federation --chain lt.pem --ca rsa.pem
openssl x509 -req -in lt.csr -CA rsa.pem -CAkey rsa.key -CAcreateserial -days 31 \
    -extfile leaf.ext -out long.pem 2>/dev/null
refuse "a leaf of 31 days" 1 "longer than 30 days" "$certs" agent import LT.POLICE \
    --trust-domain police.lt.example --federation federation --chain long.pem --ca rsa.pem
sed 's/^subjectAltName.*/&,DNS:police.lt.example/' leaf.ext >two.ext
openssl x509 -req -in lt.csr -CA rsa.pem -CAkey rsa.key -CAcreateserial -days 29 \
    -extfile two.ext -out two.pem 2>/dev/null
refuse "a leaf with two names" 1 "exactly one URI" "$certs" agent import LT.POLICE \
    --trust-domain police.lt.example --federation federation --chain two.pem --ca rsa.pem

mkdir db && : >db/index.txt && echo 1000 >db/serial && echo 01 >db/crlnumber
cat >ca.cnf <<CNF
[ca]
default_ca = main
[main]
database = db/index.txt
serial = db/serial
crlnumber = db/crlnumber
new_certs_dir = db
certificate = p256.pem
private_key = p256.key
default_md = sha256
default_days = 29
default_crl_days = 7
policy = any
copy_extensions = none
x509_extensions = leaf
crl_extensions = list
[any]
organizationName = optional
commonName = supplied
[list]
authorityKeyIdentifier = keyid:always
[leaf]
CNF
cat leaf.ext >>ca.cnf
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout p256.key \
    -out p256.pem -days 400 -subj "/O=Lithuania/CN=P-256 issuing CA" "${ca_ext[@]}" 2>/dev/null
check "openssl ca (P-256)" openssl ca -batch -config ca.cnf -in lt.csr -out lt2.pem
check "openssl ca -gencrl" openssl ca -config ca.cnf -gencrl -out p256.crl
check "import from a P-256 CA" "$certs" agent import LT.POLICE --trust-domain police.lt.example \
    --federation federation --chain lt2.pem --ca p256.pem --crl p256.crl
check "statement under it" "$certs" keys issue LT.POLICE --keys agents/LT.POLICE/keys \
    --federation federation
refuse "the directory still pins the old CA" 1 "not the one that the directory pins" "$certs" \
    directory verify --federation federation
check "third directory" "$certs" directory init --from directory.yaml --federation federation \
    --to directory.3.dsse
says "it says that the CA changes" "CA key: "
check "sign 1" "$certs" directory sign directory.3.dsse --federation federation \
    --key root-keys/first.key
check "sign 2" "$certs" directory sign directory.3.dsse --federation federation \
    --key root-keys/fourth.key
check "publish 3" "$certs" directory publish directory.3.dsse --federation federation
check "timestamp 3" "$certs" timestamp sign --federation federation --key timestamp/timestamp.key
check "all of it holds" bash -c "'$certs' directory verify --federation federation --json |
    grep -q '\"agency\":\"LT.POLICE\",\"state\":\"ok\"'"
check "openssl ca -revoke" openssl ca -config ca.cnf -revoke lt2.pem -crl_reason keyCompromise
check "openssl ca -gencrl again" openssl ca -config ca.cnf -gencrl -out p256.crl
check "import its list" "$certs" crl import LT.POLICE --federation federation --crl p256.crl
check "revoked by its own CA" bash -c "'$certs' directory verify --federation federation --json |
    grep -q '\"agency\":\"LT.POLICE\",\"state\":\"revoked\"'"

# --- the rest of what people see ---
check "transcripts" grep -q "directory version 2 signed by third" directory.2.dsse.transcript
check "fingerprint" bash -c "'$certs' keystore show root-keys/first.key |
    grep -Eq '([0-9]{5} ){11}[0-9]{5}'"
refuse "others may read the key" 4 "not-allowed" bash -c "chmod 644 root-keys/second.key;
    '$certs' directory sign directory.3.dsse --federation federation --key root-keys/second.key"
refuse "wrong pass phrase" 4 wrong-passphrase "$certs" root sign root.2.dsse \
    --key root-keys/first.key --passphrase-file timestamp/passphrase
refuse "unknown key in the file" 3 "directory.yaml:" bash -c "echo 'colour: red' >>directory.yaml;
    '$certs' directory init --from directory.yaml --federation federation --to x.dsse"
refuse "usage" 2 "" "$certs" root init
check "help" "$certs" --help
check "manual" "$certs" --man

echo "1..$count"
exit $failed
