package cpq

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

const serial = "4223BF43B7C9D2E1"

var hash = mail.Hash{0x0f, 0x34, 0x3b, 0x09, 0x31, 0x12, 0x6a, 0x20, 31: 0xff}

func deposit() Metadata {
	return Metadata{Deposit: &Deposit{
		Key: mail.NewKey(serial, 23456, hash), GatewaySerial: serial, GatewayName: "gw1.example.net", GatewayMID: 23456,
		Accepted: time.Date(2026, 11, 24, 2, 9, 27, 123e6, time.UTC),
		Origin: Origin{RemoteIP: netip.MustParseAddr("192.0.2.1"), RemoteHost: "unknown", Helo: "client.example.com",
			Listener: "InboundMail", SenderGroup: "UNKNOWNLIST"},
		Policy: "DEFAULT", Direction: Inbound, Size: 1234, Hash: hash, Subject: `say "HOLDME"`,
		Placements: []mail.Placement{{Quarantine: "Policy", Reason: "message filter:holdme"}},
	}}
}

func release() Metadata {
	key := mail.NewKey(serial, 23456, hash)
	return Metadata{Release: &Release{Action: mail.NewActionKey(key, 1), Key: key, ManagerMID: 42, GatewayMID: 23456,
		Size: 1234, Hash: hash, Cause: "manual", By: "admin", Prepend: "X-A: b\r\n c\r\n"}}
}

const (
	depositBlock = `{"version":1,"deposit":{"key":"4223BF43B7C9D2E1-23456-0f343b0931126a20","serial":"4223BF43B7C9D2E1",` +
		`"name":"gw1.example.net","mid":23456,"accepted":"2026-11-24T02:09:27.123Z","remote_ip":"192.0.2.1",` +
		`"remote_host":"unknown","helo":"client.example.com","listener":"InboundMail","sender_group":"UNKNOWNLIST",` +
		`"policy":"DEFAULT","direction":"inbound","size":1234,` +
		`"sha256":"0f343b0931126a200000000000000000000000000000000000000000000000ff","subject":"say \"HOLDME\"",` +
		`"prepend":"","placements":[{"quarantine":"Policy","reason":"message filter:holdme"}]}}`
	releaseBlock = `{"version":1,"release":{"action":"4223BF43B7C9D2E1-23456-0f343b0931126a20-1",` +
		`"key":"4223BF43B7C9D2E1-23456-0f343b0931126a20","manager_mid":42,"gateway_mid":23456,"size":1234,` +
		`"sha256":"0f343b0931126a200000000000000000000000000000000000000000000000ff","cause":"manual","by":"admin",` +
		`"prepend":"X-A: b\u000d\u000a c\u000d\u000a"}}`
)

func early() Metadata {
	m := release()
	m.Release.Extras = []mail.Extras{{Tag: "[early]", AtEnd: true, Header: "X-Early", Value: "True", Strip: true}}
	return m
}

var extrasBlock = strings.NewReplacer(`"version":1`, `"version":2`, `"}}`, `","extras":[{"tag":"[early]","place":"end","header":"X-Early","value":"True","strip":true}]}}`).Replace(releaseBlock)

func found() Metadata {
	m := deposit()
	m.Deposit.Placements = []mail.Placement{
		{Quarantine: "Policy", Reason: "message filter:holdme", Matched: []mail.Matched{{Rule: `holdme: subject == "HOLD"`, Part: "Subject", Text: "HOLD"}, {Part: "a.doc"}}},
		{Quarantine: "Virus"},
	}
	return m
}

var matchedBlock = strings.NewReplacer(`"version":1`, `"version":3`, `"message filter:holdme"}]}}`, `"message filter:holdme","matched":[`+
	`{"rule":"holdme: subject == \"HOLD\"","part":"Subject","text":"HOLD"},{"rule":"","part":"a.doc","text":""}]},`+
	`{"quarantine":"Virus","reason":"","matched":[]}]}}`).Replace(depositBlock)

func keeping() Metadata {
	m := deposit()
	m.Deposit.Placements = []mail.Placement{{Quarantine: "Policy", Reason: "message filter:holdme", Matched: []mail.Matched{{Part: "a.doc"}}}, {Quarantine: "Outbreak", Reason: "VOF rule:R1", Keep: 4 * time.Hour}}
	return m
}

var keepBlock = strings.NewReplacer(`"version":1`, `"version":4`, `holdme"}]`, `holdme","matched":[{"rule":"","part":"a.doc","text":""}],"keep":0},{"quarantine":"Outbreak","reason":"VOF rule:R1","matched":[],"keep":14400}]`).Replace(depositBlock)

// The form on the wire is a promise between versions: these texts never change.
func TestForm(t *testing.T) {
	for _, c := range []struct {
		m    Metadata
		want string
	}{{deposit(), depositBlock}, {release(), releaseBlock}, {early(), extrasBlock}, {found(), matchedBlock}, {keeping(), keepBlock}} {
		got, err := Encode(c.m)
		if err != nil || string(got) != c.want {
			t.Fatalf("%v\n%s\n%s", err, got, c.want)
		}
		back, err := Decode(got)
		if err != nil || !reflect.DeepEqual(back, c.m) {
			t.Fatalf("%v\n%+v\n%+v", err, back, c.m)
		}
	}
}

// Each block is one step away from a good one and is refused, with a place or a name.
func TestSEC_D3_DecodeIsStrict(t *testing.T) {
	dep := func(old, new string) string { return strings.Replace(depositBlock, old, new, 1) }
	rel := func(old, new string) string { return strings.Replace(releaseBlock, old, new, 1) }
	mat := func(old, new string) string { return strings.Replace(matchedBlock, old, new, 1) }
	ext := func(old, new string) string { return strings.Replace(extrasBlock, old, new, 1) }
	for name, c := range map[string]struct{ block, want string }{
		"empty":             {"", `octet 0: {"version": is expected`},
		"other version":     {dep(`"version":1`, `"version":6`), "version 6 is not understood, only 1 to 5"},
		"keep too long":     {strings.Replace(keepBlock, "14400", "2592001", 1), "a number up to 2592000"},
		"nothing to keep":   {strings.Replace(keepBlock, "14400", "0", 1), "not one of version 4"},
		"keep in version 3": {strings.Replace(keepBlock, `"version":4`, `"version":3`, 1), "} is expected"},
		"3 without matches": {mat(`[{"rule":"holdme: subject == \"HOLD\"","part":"Subject","text":"HOLD"},{"rule":"","part":"a.doc","text":""}]`, `[]`), "this is not one of version 3"},
		"1 with matches":    {mat(`"version":3`, `"version":1`), "} is expected"},
		"release of 3":      {rel(`"version":1`, `"version":3`), "this is not one of version 3"},
		"match of meaning":  {mat(`"part":"a.doc"`, `"part":"a.doc","x":"y"`), `,"text": is expected`},
		"long match":        {mat(`"text":"HOLD"`, `"text":"`+strings.Repeat("x", 161)+`"`), "text is longer than 160"},
		"more matches":      {mat(`"matched":[]`, `"matched":[{"rule":"","part":"","text":""}`+strings.Repeat(`,{"rule":"","part":"","text":""}`, 40)+`]`), "too many matches"},
		"deposit of 2":      {dep(`"version":1`, `"version":2`), "this is not one of version 2"},
		"2 without extras":  {rel(`"version":1`, `"version":2`), `,"extras":[ is expected`},
		"1 with extras":     {ext(`"version":2`, `"version":1`), "} is expected"},
		"no extras":         {ext(`{"tag":"[early]","place":"end","header":"X-Early","value":"True","strip":true}`, ``), "{ is expected"},
		"extras of nothing": {ext(`"tag":"[early]","place":"end","header":"X-Early","value":"True","strip":true`, `"tag":"","place":"start","header":"","value":"","strip":false`), "extras that say nothing"},
		"other place":       {ext(`"end"`, `"middle"`), "place is start or end"},
		"strip maybe":       {ext(`"strip":true`, `"strip":1`), "false is expected"},
		"unknown extra":     {ext(`"strip":true`, `"strip":true,"burn":true`), "} is expected"},
		"field of meaning":  {ext(`X-Early`, `Bcc`), "begins with X-"},
		"header with lines": {ext(`True`, `True\u000d\u000aBcc: x`), "not printable ASCII"},
		"control in tag":    {ext(`[early]`, `[\u001b[2J]`), "forbidden character"},
		"long tag":          {ext(`[early]`, strings.Repeat("x", 101)), "longer than 100"},
		"more extras":       {ext(`]}}`, strings.Repeat(`,{"tag":"a","place":"start","header":"","value":"","strip":false}`, 100)+`]}}`), "too many extras"},
		"no version":        {dep(`"version":1,`, ``), "octet 0"},
		"neither":           {`{"version":1,"delete":{}}`, `octet 13: "deposit", "release" or "rescan" is expected`},
		"blank":             {dep(`"mid":`, `"mid": `), "a number"},
		"unknown field":     {dep(`"policy"`, `"x":1,"policy"`), `,"policy": is expected`},
		"repeated field":    {dep(`"serial"`, `"key":"a","serial"`), `,"serial": is expected`},
		"missing field":     {dep(`"helo":"client.example.com",`, ``), `,"helo": is expected`},
		"other order":       {dep(`"size":1234,`, ``), `,"size": is expected`},
		"trailing":          {depositBlock + " ", "nothing is expected"},
		"two objects":       {depositBlock + depositBlock, "nothing is expected"},
		"cut":               {depositBlock[:len(depositBlock)-1], "} is expected"},
		"line end":          {depositBlock + "\r\n", "nothing is expected"},
		"leading zero":      {dep(`"mid":23456`, `"mid":023456`), "a number"},
		"negative":          {dep(`"size":1234`, `"size":-1`), "a number"},
		"too big":           {dep(`"size":1234`, `"size":9223372036854775808`), "a number"},
		"fraction":          {dep(`"size":1234`, `"size":1.5`), "is expected"},
		"mid 0":             {dep(`"mid":23456`, `"mid":0`), "mid is 0"},
		"bare control":      {dep(`unknown`, "un\nknown"), "control character"},
		"bare delete":       {dep(`unknown`, "un\x7fknown"), "control character"},
		"NUL":               {dep(`unknown`, "un\x00known"), "control character"},
		"short escape":      {dep(`unknown`, `un\nknown`), "escape"},
		"needless escape":   {dep(`unknown`, `un\u0041known`), "escape"},
		"upper-case escape": {dep(`unknown`, `un\u000Aknown`), "escape"},
		"escaped slash":     {dep(`unknown`, `un\/known`), "escape"},
		"not UTF-8":         {dep(`unknown`, "un\xffknown"), "not UTF-8"},
		"surrogate":         {dep(`unknown`, `\ud800`), "escape"},
		"long text":         {dep(`unknown`, strings.Repeat("u", 256)), "longer than 255"},
		"no end":            {dep(`}]}}`, ``)[:500], ""},
		"hash":              {dep(`"0f343b`, `"0F343b`), "lower case"},
		"other hash":        {dep(`"0f343b`, `"1f343b`), "sha256 is not the one in the key"},
		"other serial":      {dep(`"serial":"4`, `"serial":"5`), "serial is not the one in the key"},
		"no key":            {dep(`"key":"4223BF43B7C9D2E1-23456-0f343b0931126a20"`, `"key":""`), "not a message key"},
		"time zone":         {dep(`27.123Z`, `27.123+00:00`), "accepted"},
		"time":              {dep(`2026-11-24T`, `2026-11-31T`), "accepted"},
		"comma in time":     {dep(`27.123Z`, `27,123Z`), "accepted"},
		"address":           {dep(`192.0.2.1`, `192.0.2.01`), "remote_ip"},
		"mapped address":    {dep(`192.0.2.1`, `::ffff:192.0.2.1`), "remote_ip"},
		"zone":              {dep(`192.0.2.1`, `fe80::1%eth0`), "remote_ip"},
		"direction":         {dep(`inbound`, `Inbound`), "direction"},
		"no placement":      {dep(`{"quarantine":"Policy","reason":"message filter:holdme"}`, ``), "{ is expected"},
		"empty quarantine":  {dep(`"quarantine":"Policy"`, `"quarantine":""`), "quarantine"},
		"same quarantine":   {dep(`[{`, `[{"quarantine":"Policy","reason":""},{`), "named twice"},
		"trailing comma":    {dep(`}]}}`, `},]}}`), "{ is expected"},
		"other action":      {rel(`0-1"`, `1-1"`), "action is not one about the key"},
		"action 01":         {rel(`0-1"`, `0-01"`), "not an action key"},
		"no header lines":   {rel(`X-A: b`, `X-A b`), "prepend"},
		"end of header":     {rel(`X-A: b\u000d\u000a`, `X-A: b\u000d\u000a\u000d\u000a`), "prepend"},
		"blank folding":     {rel(` c\u000d`, ` \u000d`), "prepend"},
		"bare LF in header": {rel(`X-A: b`, `X-A: b\u000aX: y`), "prepend"},
		"unfinished header": {rel(` c\u000d\u000a`, ` c`), "prepend"},
		"too long":          {depositBlock + strings.Repeat(" ", MaxBlock), "longer than 65536"},
	} {
		m, err := Decode([]byte(c.block))
		if err == nil || !strings.Contains(err.Error(), c.want) || m != (Metadata{}) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	var v *VersionError
	if _, err := Decode([]byte(dep(`"version":1`, `"version":6`))); !errors.As(err, &v) {
		t.Errorf("%v is no VersionError", err)
	}
}

// The sender refuses its own faults, and makes text from outside fit.
func TestEncode(t *testing.T) {
	for name, spoil := range map[string]func(*Deposit){
		"name":       func(d *Deposit) { d.GatewayName = strings.Repeat("x", 256) },
		"not UTF-8":  func(d *Deposit) { d.Policy = "\xff" },
		"hash":       func(d *Deposit) { d.Hash[0]++ },
		"serial":     func(d *Deposit) { d.GatewaySerial = "5223BF43B7C9D2E1" },
		"prepend":    func(d *Deposit) { d.Prepend = "X: y" },
		"placements": func(d *Deposit) { d.Placements = make([]mail.Placement, 101) },
		"time":       func(d *Deposit) { d.Accepted = time.Time{} },
	} {
		m := deposit()
		spoil(m.Deposit)
		if b, err := Encode(m); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
	if _, err := Encode(Metadata{}); err == nil {
		t.Error("nothing is encoded")
	}
	m := deposit()
	m.Deposit.Subject = "caf\xe9 " + strings.Repeat("ü", 1000)
	m.Deposit.Origin.Helo = "a\r\nQUIT\x00" + strings.Repeat("z", 300)
	m.Deposit.Origin.RemoteIP = netip.Addr{}
	b, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b)
	if err != nil || strings.ContainsAny(string(b), "\r\n\x00") {
		t.Fatal(err, b)
	}
	d := back.Deposit
	if !strings.HasPrefix(d.Subject, "caf\uFFFD üü") || len(d.Subject) > maxSubject || len(d.Origin.Helo) != maxWord || d.Origin.RemoteIP.IsValid() {
		t.Errorf("%+v", d)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.StringN(0, 60, 250).Draw(t, name) }
		m := deposit()
		d := m.Deposit
		d.GatewayName, d.Origin.RemoteHost, d.Origin.Helo = text("name"), text("host"), text("helo")
		d.Subject, d.Policy = text("subject"), text("policy")
		d.GatewayMID = mail.MID(rapid.Uint64Min(1).Draw(t, "mid"))
		d.Size = rapid.Int64Min(0).Draw(t, "size")
		d.Placements[0].Reason = text("reason")
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%v\n%+v\n%+v", err, back.Deposit, d)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(depositBlock))
	f.Add([]byte(releaseBlock))
	f.Add([]byte(keepBlock))
	f.Add([]byte(matchedBlock))
	f.Add([]byte(`{"version":5,"rescan":{"key":"4223BF43B7C9D2E1-501-0102030000000000","manager_mid":44,"size":7,"sha256":"0102030000000000000000000000000000000000000000000000000000000000"}}`))
	f.Fuzz(func(t *testing.T, block []byte) {
		m, err := Decode(block)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil || string(again) != string(block) {
			t.Fatalf("%v\n%s\n%s", err, block, again)
		}
	})
}

func TestReceipt(t *testing.T) {
	for mid, r := range map[mail.MID]smtp.Reply{42: ReplyAccepted(42), 1<<64 - 1: ReplyAccepted(1<<64 - 1)} {
		if got, err := ParseAccepted(r); err != nil || got != mid {
			t.Error(got, err)
		}
	}
	if got := ReplyAccepted(42).String(); got != "250 2.0.0 ok:  Message 42 accepted" {
		t.Error(got)
	}
	for _, text := range []string{"ok: Message 42 accepted", "ok:  Message 0 accepted", "ok:  Message 042 accepted", "ok:  Message  accepted", "ok:  Message 4 accepted x", ""} {
		if mid, err := ParseAccepted(smtp.NewReply(250, "2.0.0", text)); err == nil {
			t.Errorf("%q is MID %s", text, mid)
		}
	}
	if _, err := ParseAccepted(smtp.NewReply(451, "4.3.0", ReplyAccepted(1).Text...)); err == nil {
		t.Error("a refusal is a receipt")
	}
}

func TestCheckContent(t *testing.T) {
	other := hash
	other[31]++
	for _, m := range []Metadata{deposit(), release()} {
		if err := m.CheckContent(1234, hash); err != nil {
			t.Error(err)
		}
		if m.CheckContent(1235, hash) == nil || m.CheckContent(1234, other) == nil || (Metadata{}).CheckContent(0, mail.Hash{}) == nil {
			t.Error("wrong content passes")
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	block := []byte(depositBlock)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(block); err != nil {
			b.Fatal(err)
		}
	}
}
