package admin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/blob"
	"lazaret/internal/config"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/store"
)

func settings(t *testing.T, role config.Role) (*house, *config.Store) {
	t.Helper()
	hash, err := auth.HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	conf := config.Defaults(config.Params{Role: role, Hostname: "gw1.demo.example", Serial: "GATEWAY0001", IP: "127.0.0.1", SSHPort: 2222, SMTPPort: 2525, CPQPort: 7025, Password: hash})
	st := config.NewStore(filepath.Join(t.TempDir(), "config.xml"), conf, logs.DiscardAudit(), nil)
	return language(t, Configuration{Store: st}.Commands()...), st
}

func run(t *testing.T, l *house, p mail.Principal, line string) (string, int) {
	t.Helper()
	s := newScript()
	status := l.Exec(t.Context(), p, line, s)
	return s.String(), status
}

// The dialogues that backup programs hold (clients 2.3).
func TestShowConfig(t *testing.T) {
	l, _ := settings(t, config.Gateway)
	s := newScript("showconfig", "1")
	l.Shell(t.Context(), admin, s)
	wants(t, "gateway", s.String(), "Choose the passphrase option:\n1. Mask passphrases (Files with masked passphrases cannot be loaded using\nloadconfig command)\n",
		"\n[1]> 1\n<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!DOCTYPE config SYSTEM \"config.dtd\">\n", "<listener_name>cpq_listener</listener_name>", "</config>\ngw1.demo.example> ")
	if strings.Contains(s.String(), "argon2id$v") {
		t.Error("masked, and yet the hash is there")
	}
	if out, _ := run(t, l, admin, "showconfig 3"); !strings.Contains(out, "$argon2id$v=19$") {
		t.Error("an administrator's copy cannot be loaded")
	}
	if out, _ := run(t, l, mail.Principal{Name: "o", Role: mail.Operator}, "showconfig 3"); strings.Contains(out, "$argon2id$v=19$") || !strings.Contains(out, "<config>") {
		t.Error("an operator sees password hashes")
	}
	if out, status := run(t, l, admin, "showconfig"); status != 0 || strings.Contains(out, "$argon2id$v=19$") || !strings.HasPrefix(out, "<?xml") {
		t.Errorf("executed: %d %.200s", status, out)
	}
	m, _ := settings(t, config.Manager)
	s = newScript("showconfig", "y")
	m.Shell(t.Context(), admin, s)
	wants(t, "manager", s.String(), "Do you want to mask the password? Files with masked passwords cannot be loaded\nusing loadconfig command. [Y]> y\n<?xml")
}

func TestCommit(t *testing.T) {
	l, st := settings(t, config.Gateway)
	for _, line := range []string{"commit", "commit -y", `commit "x" Y`} {
		if out, status := run(t, l, admin, line); out != "There is no data to commit.\n" || status != 1 {
			t.Errorf("%s: %q %d", line, out, status)
		}
	}
	wants(t, "new", first(run(t, l, admin, "interfaceconfig new Data2 127.0.0.2 gw1-in.demo.example")), "Commit to put this in force.\n")
	if st.Committed().InterfaceIP("Data2") != "" {
		t.Error("in force without commit")
	}
	s := newScript("interfaceconfig", "", "commit", "my comment")
	l.Shell(t.Context(), admin, s)
	wants(t, "dialogue", s.String(), "Currently configured interfaces:\n1. Management (127.0.0.1: gw1.demo.example)\n2. Data2 (127.0.0.2: gw1-in.demo.example)\n",
		"Please enter some comments describing your changes:\n[]> my comment\n\nChanges committed: ")
	if st.Committed().InterfaceIP("Data2") != "127.0.0.2" {
		t.Error("not in force after commit")
	}
	wants(t, "bad", first(run(t, l, admin, "interfaceconfig edit Data2 999.0.0.1 x.y.z")), "999.0.0.1")
	wants(t, "in use", first(run(t, l, admin, "interfaceconfig delete Management")), "Management")
	run(t, l, admin, "interfaceconfig edit Data2 127.0.0.3 gw1-in.demo.example")
	wants(t, "clear", first(run(t, l, admin, "clearchanges")), "Changes cleared: ")
	wants(t, "clear", first(run(t, l, admin, "clearchanges")), "There are no changes to clear.")
	if _, pending := st.Pending(); pending || st.Committed().InterfaceIP("Data2") != "127.0.0.2" {
		t.Error("not cleared")
	}
	for _, line := range []string{"commit", "interfaceconfig new X 127.0.0.9 a.b.c", "clearchanges"} {
		if out, _ := run(t, l, mail.Principal{Name: "r", Role: mail.ReadOnlyOperator}, line); !strings.HasPrefix(out, "Unknown command") {
			t.Errorf("a read-only operator got %q for %s", out, line)
		}
	}
}

const holdFilter = `hold: if (subject == "HOLDME") { quarantine("Policy"); }`

// The dialogue of clients 2.3, and the same by single lines; comments stay.
func TestFilters(t *testing.T) {
	l, st := settings(t, config.Gateway)
	s := newScript("filters", "new", "# why", holdFilter, ".", "list", "new", "bad: if", ".", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "dialogue", s.String(), "Enter '.' on its own line to end.\n", "\n1 filters added.\n", "Num Active Valid Name\n  1 Y      Y     hold\n", "line 2, column 1: expected a rule")
	in := newScript("other! if (true) { drop(); }")
	if status := l.Exec(t.Context(), admin, "filters new hold", in); status != 0 || !strings.HasSuffix(in.String(), "\n1 filters added.\n") {
		t.Errorf("%d %q", status, in.String())
	}
	wants(t, "order", first(run(t, l, admin, "filters list")), "  1 N      Y     other\n  2 Y      Y     hold\n")
	wants(t, "detail", first(run(t, l, admin, "filters detail hold")), "# why\n"+holdFilter+"\n")
	wants(t, "quarantines", first(run(t, l, admin, "filters quarantines")), "Policy               hold\n")
	wants(t, "quarantines", first(run(t, l, admin, "filters quarantines Nirvana; filters set hold inactive; filters quarantines Policy; filters set hold active")), "No filter names it.\n", "Policy               hold (inactive)\n")
	wants(t, "set", first(run(t, l, admin, "filters set hold inactive; filters set other active; filters list")), "  1 Y      Y     other\n  2 N      Y     hold\n")
	wants(t, "delete", first(run(t, l, admin, "filters delete other; filters list")), "1 filter deleted.\nNum Active Valid Name\n  1 N      Y     hold\n")
	wants(t, "unknown", first(run(t, l, admin, "filters delete nobody")), "does not exist")
	in = newScript("gone: if (recv-listener == \"Gone\") { drop(); }")
	status := l.Exec(t.Context(), admin, "filters new", in)
	wants(t, "invalid", in.String(), "Warning: filter gone is not valid and does not run: no listener matches \"Gone\"\n")
	wants(t, "invalid", first(run(t, l, admin, "filters list; filters delete gone")), "  2 Y      N     gone\ngone is not valid and does not run: no listener matches \"Gone\"\n")
	if status != 0 {
		t.Errorf("an invalid filter is allowed: %d", status)
	}
	in = newScript("x: if (subjekt == \"a\") { drop(); }")
	if status := l.Exec(t.Context(), admin, "filters import", in); status == 0 || !strings.Contains(in.String(), "line 1, column 8") {
		t.Errorf("%d %q", status, in.String())
	}
	if st.Committed().Filters != "" {
		t.Error("in force without commit")
	}
	if out, status := run(t, l, mail.Principal{Name: "r", Role: mail.ReadOnlyOperator}, "filters list; filters delete hold"); status == 0 || !strings.Contains(out, "hold\nUnknown command") {
		t.Errorf("%q", out)
	}
}

func first(s string, _ int) string { return s }

type quiet struct{}

func (quiet) Enqueue(mail.MID)                      {}
func (quiet) Record(mail.Principal, string, string) {}

// ward is a manager's quarantine with two messages, on the real stores.
func ward(t *testing.T) *house {
	t.Helper()
	return wardWith(t, quarantine.Rules{})
}

func wardWith(t *testing.T, rules quarantine.Rules) *house {
	t.Helper()
	return wardIn(t, nil, rules)
}

func (quiet) Copy(_ context.Context, _ *quarantine.Record, content io.Reader, _ []mail.Address) error {
	_, err := io.Copy(io.Discard, content)
	return err
}

func wardIn(t *testing.T, conf *config.Store, rules quarantine.Rules) *house {
	t.Helper()
	l, _ := wardOf(t, conf, rules)
	return l
}

// wardService also gives the service, to bring more messages.
func wardService(t *testing.T, rules quarantine.Rules) (*house, *quarantine.Service) {
	t.Helper()
	return wardOf(t, nil, rules)
}

func wardOf(t *testing.T, conf *config.Store, rules quarantine.Rules) (*house, *quarantine.Service) {
	t.Helper()
	dir := t.TempDir()
	fatal := func(err error) { t.Error(err) }
	key, err := blob.LoadKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "blob"), 0o700); err != nil {
		t.Fatal(err)
	}
	contents, err := blob.Open(blob.Options{Dir: filepath.Join(dir, "blob"), Key: key, MinFree: 1, OnFatal: fatal, OnFault: fatal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { contents.Close() })
	clock := func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }
	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "q.db"), Contents: contents, OnFatal: fatal, OnFault: fatal, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	set := append(quarantine.Defaults(), quarantine.Settings{Name: "Mine", Kind: quarantine.KindPolicy, Retention: time.Hour, DefaultAction: quarantine.Delete})
	s, err := quarantine.New(quarantine.Options{Store: st, Contents: contents, Sender: quiet{}, Copier: quiet{}, Log: logs.Discard(), Audit: quiet{}, Settings: set, Rules: rules, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"HOLDME one", "two \x1b[2J=?utf-8?q?=E2=80=AE?=evil"} {
		deposit(t, s, mail.MID(41+i), subject)
	}
	return language(t, Quarantines{Service: s, Config: conf, Clock: clock}.Commands()...), s
}

func deposit(t *testing.T, s *quarantine.Service, mid mail.MID, subject string) {
	t.Helper()
	content := "Subject: x\r\n\r\nBody \x1b[31m of " + mid.String() + "\r\n"
	if strings.HasPrefix(subject, "HOLDME") {
		content = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nText\r\n--b\r\nContent-Type: application/pdf; name=\"=?utf-8?q?Gr=C3=BC=C3=9Fe?=.pdf\"\r\n" +
			"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\n" + strings.Repeat("QUJD", 600) + "\r\n--b--\r\n"
	}
	depositContent(t, s, mid, subject, content)
}

func depositContent(t *testing.T, s *quarantine.Service, mid mail.MID, subject, content string) {
	t.Helper()
	var to []mail.Address
	for _, a := range []string{"a@example.org", "b@example.org"} {
		x, err := mail.ParseAddress(a)
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, x)
	}
	hash := mail.Hash(sha256.Sum256([]byte(content)))
	_, _, err := s.Ingest(t.Context(), quarantine.Deposit{MID: mid, Key: mail.NewKey("GATEWAY0001", mid+500, hash), Hash: hash, Gateway: "GATEWAY0001", GatewayName: "gw1.demo.example",
		GatewayMID: mid + 500, Accepted: time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC), Envelope: mail.Envelope{From: to[0], To: to}, Size: int64(len(content)), Subject: subject,
		Placements: []mail.Placement{{Quarantine: "Policy", Reason: "message filter:hold", Matched: []mail.Matched{{Rule: "hold: body-contains(\"o\")", Part: "body", Text: "of " + mid.String()}}}, {Quarantine: "Virus", Reason: "antivirus"}}},
		strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
}

func TestQuarantineCommands(t *testing.T) {
	l := ward(t)
	wants(t, "list", first(run(t, l, admin, "quarantine list")), "Quarantine Name", "Policy                        2", "10d  Delete ", "1h  Release")
	lines := strings.Split(first(run(t, l, admin, "quarantine list --json")), "\n")
	wants(t, "list --json", lines[0], `{"name":"Policy","kind":"policy","retention":"10d","default_action":"Delete","messages":2,"bytes":`, `,"last":"2026-03-04T05:06:07Z","gone":false}`)
	wants(t, "list --json", lines[2], `{"name":"Outbreak",`, `"retention":"1d","default_action":"Release","messages":0,"bytes":0,"last":null,"gone":false}`)
	out, status := run(t, l, admin, "quarantine search subject HOLDME --json")
	var m struct {
		ID, MID                         mail.MID
		GatewayMID                      mail.MID `json:"esa_mid"`
		Gateway, Sender, Subject, State string
		Recipients                      []string
		Received                        time.Time
		Size                            int64
		Quarantines                     []struct{ Name, Reason, Exit, State string }
		Release                         []struct{ Recipient, State, Reply string }
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil || status != 0 || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v %d %q", err, status, out)
	}
	if m.MID != 41 || m.ID != 41 || m.GatewayMID != 541 || m.Gateway != "gw1.demo.example" || len(m.Recipients) != 2 || len(m.Quarantines) != 2 || m.Quarantines[0].State == "" || m.Release == nil {
		t.Errorf("%+v", m)
	}
	for line, n := range map[string]int{"": 2, "--subject=holdme": 1, "subject-is=HOLDME": 0, "esa_mid 542": 1, "mid 41": 1, "sender a@example.org": 2, "to-ends .org gateway GATEWAY0001 limit 1": 1,
		"subject-not HOLDME": 1, "subject-not-is holdme": 2, "sender-not a@example.org": 0, "sender-not-ends .org": 0, "to-not-starts zzz": 2, "reason filter": 2, "reason-not filter": 0,
		"reason-starts message reason-not-ends zzz": 2, "order oldest after 41": 1, "order=oldest limit=1": 1, "message-id nobody@example.org": 0, "quarantine Virus": 2, "attachment .EXE": 1, "attachment-ends=.zip": 0, "attachment-is GRÜSSE attachment-type x": 0, "attachment-starts grü attachment-type-is application/PDF attachment-min 1K attachment-max 1800": 1,
		"attachment-min 2K": 0, "attachment-not exe": 1, "attachment-type-not-starts image/ attachment-max 2K": 1, "since 2026-03-05": 0, "since=2026-03-04 until=2026-03-04T06:00": 2, "after 42": 1,
		"gateway-not gw1": 0, "gateway-not GATEWAY0002": 2, "state-not held": 0, "state-not=deleted state-not=failed": 2, "order subject": 2, "order exit-desc limit 1": 1} {
		if out, status := run(t, l, admin, "quarantine search --json "+line); status != 0 || strings.Count(out, "\n") != n {
			t.Errorf("search %s: %d, %q", line, status, out)
		}
	}
	for _, line := range []string{"color red", "mid", "mid x", "since yesterday", "limit 0", "state odd", "order random", "order size after 41", "state-not odd", "after 41-x", "subject-not", "attachment-min x", "attachment-min 3 attachment-max 2"} {
		if out, status := run(t, l, admin, "quarantine search "+line); status == 0 {
			t.Errorf("search %s: %q", line, out)
		}
	}
	wants(t, "search", first(run(t, l, admin, "quarantine search")), `two \u001b[2J`, "2 messages found.")
	wants(t, "page", first(run(t, l, admin, "quarantine search limit 1")), "\n1 of 2 messages shown. The next: --after 42\n")
	wants(t, "last page", first(run(t, l, admin, "quarantine search limit 1 after 42")), "\n1 of 2 messages shown. The next: --after 41\n")
	wants(t, "behind the end", first(run(t, l, admin, "quarantine search after 41")), "\n0 of 2 messages shown.\n")
	wants(t, "total", first(run(t, l, admin, "quarantine search --total --json subject zzz")), `{"total":0,"exact":true,"shown":0}`+"\n")
	lines = strings.Split(first(run(t, l, admin, "quarantine search order subject-desc limit 1 --total --json")), "\n")
	var end struct{ After string }
	if err := json.Unmarshal([]byte(lines[1]), &end); err != nil || !strings.HasPrefix(lines[1], `{"total":2,"exact":true,"shown":1,"after":"42-`) || !strings.Contains(lines[0], `"after":"`+end.After+`"`) {
		t.Fatalf("%v: %q", err, lines)
	}
	wants(t, "next page", first(run(t, l, admin, "quarantine search order subject-desc after "+end.After)), "HOLDME one", "\n1 of 2 messages shown.\n")
	wants(t, "show", first(run(t, l, admin, "quarantine show 42")), "MID:           42\n", "MID 542", "Policy: ", "message filter:hold", "Matched:       Policy\n", "hold: body-contains(\"o\"), in body: >>>of 42<<<\n", "\nSubject: x\n\nBody \\u001b[31m >>>of 42<<<\n")
	wants(t, "show", first(run(t, l, admin, "quarantine show 42 --json")), `"matched_content":[{"rule":"hold: body-contains(\"o\")","part":"body","text":"of 42"}]`)
	wants(t, "show", first(run(t, l, admin, "quarantine show 41")), "Attachment:    evil.exe, or Grüße.pdf", "e?=.pdf (application/pdf, 1,800 bytes)\n")
	wants(t, "json", out, `"attachments":[{"part":"2","name":"evil.exe","other_names":["Grüße.pdf","=?utf-8?q?Gr=C3=BC=C3=9Fe?=.pdf"],"type":"application/pdf","size":1800}],"attachments_total":1,`)
	wants(t, "content", first(run(t, l, admin, "quarantine show 42 --content")), "Subject: x\n\nBody \\u001b[31m of 42\n")
	wants(t, "unknown", first(run(t, l, admin, "quarantine show 4711")), "4711")
	wants(t, "parts", first(run(t, l, admin, "quarantine parts 41")), "1                       4  text/plain", "2                   1,800  application/pdf, evil.exe or Grüße.pdf or ")
	wants(t, "parts", first(run(t, l, admin, "quarantine parts 42 --json")), `{"part":"1","type":"text/plain","name":"","size":`, `"attachment":false}`)
	wants(t, "part", first(run(t, l, admin, "quarantine show 41 --part 1")), "Text")
	if out, status := run(t, l, admin, "quarantine show 41 --part 2 --base64"); status != 0 || strings.ReplaceAll(out, "\n", "") != strings.Repeat("QUJD", 600) {
		t.Errorf("an attachment in base64: %d %q", status, out)
	}
	for line, text := range map[string]string{"show 41 --part 2": "--base64 gives it", "show 41 --part 9": "has no part 9", "parts": "one message ID", "show 4711 --part 1": "4711"} {
		if out, status := run(t, l, admin, "quarantine "+line); status == 0 || !strings.Contains(out, text) {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	wants(t, "release", first(run(t, l, admin, "quarantine release 41 --quarantine Virus")), "1 message released.\n")
	wants(t, "release", first(run(t, l, admin, "quarantine release 41")), "1 message released.\n")
	wants(t, "delete", first(run(t, l, admin, "quarantine delete 42")), "1 message deleted.\n")
	if out, status := run(t, l, admin, "quarantine release 42"); status == 0 || !strings.Contains(out, "MID 42: ") {
		t.Errorf("released after deletion: %d %q", status, out)
	}
	s := newScript("quarantine delete 41", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "a shell asks", s.String(), "Are you sure you want to delete 41? [N]> ")
}

// What is decided can be taken back, delayed, moved and held from the command
// line, for numbers and for all that a search finds.
func TestQuarantineSecondThoughts(t *testing.T) {
	l := wardWith(t, quarantine.DefaultRules())
	wants(t, "delete", first(run(t, l, admin, "quarantine delete 41 --quarantine Virus")), "1 message deleted.\nTo take it back, until 2026-03-11T05:06:07Z: quarantine undo --decision 1\n")
	wants(t, "undo", first(run(t, l, admin, "quarantine undo --decision 1")), "1 message taken back.\n")
	wants(t, "all", first(run(t, l, admin, "quarantine release --all")), "2 messages released.\n", "until 2026-03-04T05:06:37Z", "--decision 2")
	wants(t, "search", first(run(t, l, admin, "quarantine search")), "0 messages found.")
	wants(t, "search", first(run(t, l, admin, "quarantine search state leaving")), "2 messages found.")
	wants(t, "show", first(run(t, l, admin, "quarantine show 42")), "State:         leaving\n", "quarantine undo 42\n")
	wants(t, "undo", first(run(t, l, admin, "quarantine undo 41 42")), "2 messages taken back.\n")
	wants(t, "delay", first(run(t, l, admin, "quarantine delay --by 48h --all subject HOLDME quarantine Policy")), "1 message delayed.\n")
	wants(t, "show", first(run(t, l, admin, "quarantine show 41 --json")), `"exit":"2026-03-16T05:06:07Z"`, `"exit":"2026-04-03T05:06:07Z"`)
	wants(t, "move", first(run(t, l, admin, "quarantine move --from Policy --to Mine 41")), "1 message moved.\n")
	wants(t, "list", first(run(t, l, admin, "quarantine list")), "Mine                          1")
	wants(t, "copy", first(run(t, l, admin, "quarantine copy --to law@example.com --to=b@example.net --all subject HOLDME")), " copied.\n")
	if out, status := run(t, l, guest, "quarantine copy --to law@example.com 41"); status == 0 || strings.Contains(out, "1 message copied") {
		t.Errorf("a guest sends a copy: %q", out)
	}
	wants(t, "hold", first(run(t, l, admin, `quarantine hold 41 --why "case 7"`)), "1 message put on hold.\n")
	if out, status := run(t, l, admin, "quarantine delete 41"); status != 1 || !strings.Contains(out, "on hold since") {
		t.Errorf("%d %q", status, out)
	}
	wants(t, "show", first(run(t, l, admin, "quarantine show 41")), "Hold:          since ", "(case 7)\n")
	wants(t, "lift", first(run(t, l, admin, "quarantine hold 41 --lift")), "1 message free to leave.\n")
	for _, line := range []string{"quarantine undo", "quarantine undo --decision x", "quarantine undo --decision 1 41", "quarantine delay 41", "quarantine delay --by 0 41", "quarantine delay --by soon 41",
		"quarantine copy 41", "quarantine copy --to nonsense@ 41", "quarantine copy --to root 41", "quarantine move 41", "quarantine move --from Policy --to Virus 41", "quarantine hold 41", "quarantine hold --lift", "quarantine release", "quarantine release 41 --all", "quarantine delete --all color red"} {
		if out, status := run(t, l, admin, line); status != exitInvalid || !strings.HasPrefix(out, "Invalid arguments: ") {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	if out, status := run(t, l, admin, "quarantine undo --decision 4711"); status != 1 || !strings.Contains(out, "no decision 4711") {
		t.Errorf("%d %q", status, out)
	}
}

// Quarantines are made, changed and deleted by command, and the clock confirmed.
func TestQuarantineConfig(t *testing.T) {
	_, st := settings(t, config.Manager)
	l := wardIn(t, st, quarantine.DefaultRules())
	wants(t, "new", first(run(t, l, admin, "quarantineconfig new Legal 20d release")), "Commit to put this in force.\n")
	wants(t, "edit", first(run(t, l, admin, `quarantineconfig edit Legal retention 12h exempt yes roles Guest,"Help Desk"`)), "Commit")
	wants(t, "rename", first(run(t, l, admin, "quarantineconfig rename Legal Law; quarantineconfig rename Law Legal; quarantineconfig rename Legal Court; quarantineconfig edit Court retention 12h")), "Commit")
	wants(t, "renamed", first(run(t, l, admin, "quarantineconfig")), "Court                retention 12h, then Release, makes no room, formerly Law, Legal, for Guest, Help Desk\n")
	wants(t, "renamed", first(run(t, l, admin, "quarantineconfig edit Court former_names none; quarantineconfig rename Court Legal; quarantineconfig edit Legal former_names none")), "Commit")
	wants(t, "early", first(run(t, l, admin, `quarantineconfig edit Legal early_subject "[early]" early_subject_place end early_header "X-Early: True" early_strip yes`)), "Commit")
	wants(t, "early", first(run(t, l, admin, "quarantineconfig")), `Legal                retention 12h, then Release, makes no room, early: subject end "[early]"; header X-Early: True; attachments stripped, for`)
	wants(t, "early ends", first(run(t, l, admin, `quarantineconfig edit Legal early_subject none early_subject_place start early_header none early_strip no`)), "Commit")
	wants(t, "rules", first(run(t, l, admin, "quarantineconfig rules undo_release 1m pool_size 5G")), "Commit")
	wants(t, "shown", first(run(t, l, admin, "quarantineconfig")), "Legal                retention 12h, then Release, makes no room, for Guest, Help Desk\n", "taken back for 1m, deleted mail rests for 7d, all together may hold 5G.\n")
	next, pending := st.Pending()
	if r, err := next.Rules(); !pending || err != nil || r.UndoRelease != time.Minute || r.Pool != 5<<30 {
		t.Errorf("%v %+v %v", pending, r, err)
	}
	wants(t, "delete", first(run(t, l, admin, "quarantineconfig delete Legal Y")), "Commit")
	if next, _ := st.Pending(); len(next.Quarantines) != 5 {
		t.Errorf("%+v", next.Quarantines)
	}
	wants(t, "retain", first(run(t, l, admin, "quarantineconfig retain Policy")), "0 messages given a new exit time.\n")
	wants(t, "clock", first(run(t, l, admin, "quarantineconfig confirmclock Y")), "taken for right")
	wants(t, "forecast", first(run(t, l, admin, "quarantine forecast --at 2026-03-20")), "KB (0%)", "not reached within 365 days", "  Policy               Delete            2 messages")
	wants(t, "forecast", first(run(t, l, admin, "quarantine forecast --json")), `"due":[]`, `"limit":21474836480`)
	for _, line := range []string{"quarantineconfig new", "quarantineconfig new Legal soon Delete", "quarantineconfig new Legal 1d Burn", `quarantineconfig new "a'b" 1d Delete`, "quarantineconfig edit Policy", "quarantineconfig edit Policy colour red",
		"quarantineconfig edit Policy exempt maybe",
		"quarantineconfig rename Policy Main", "quarantineconfig rename Virus V", "quarantineconfig rename Legal Legal", "quarantineconfig rename Legal Virus", "quarantineconfig rename Nirvana X", `quarantineconfig rename Legal "a'b"`,
		"quarantineconfig edit Policy early_strip yes", "quarantineconfig edit Outbreak early_header Early", `quarantineconfig edit Outbreak early_header "Bcc: x"`, "quarantineconfig edit Outbreak early_subject_place middle", `quarantineconfig edit Outbreak early_subject " x"`, "quarantineconfig edit Outbreak early_strip perhaps", "quarantineconfig edit Nirvana action Delete", "quarantineconfig rules", "quarantineconfig rules pool_size 1", "quarantineconfig rules undo_release 2d", "quarantine forecast --at soon"} {
		if out, status := run(t, l, admin, line); status != exitInvalid || !strings.HasPrefix(out, "Invalid arguments: ") {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
	for _, line := range []string{"quarantineconfig delete Policy", "quarantineconfig confirmclock"} {
		if out, status := run(t, l, admin, line); status == 0 {
			t.Errorf("%s: %q", line, out)
		}
	}
	if out, _ := run(t, l, guest, "quarantineconfig"); !strings.HasPrefix(out, "Unknown command") {
		t.Errorf("a guest sees %q", out)
	}
}

// Who was given no quarantine sees no trace of any (reference 1.7).
func TestQuarantineRights(t *testing.T) {
	l := ward(t)
	for _, line := range []string{"quarantine search --json", "quarantine show 41", "quarantine show 41 --content", "quarantine release 41", "quarantine delete 41", "quarantine list --json"} {
		if out, _ := run(t, l, guest, line); strings.Contains(out, "HOLDME") || strings.Contains(out, "Body") || strings.Contains(out, "Policy") || strings.HasPrefix(out, "1 message") {
			t.Errorf("%s shows a guest %q", line, out)
		}
	}
	if out, _ := run(t, l, mail.Principal{Name: "tech", Role: mail.Technician}, "quarantine list"); !strings.HasPrefix(out, "Unknown command") {
		t.Errorf("a technician sees %q", out)
	}
}

// Where the hidden listener stands is said by cpqconfig, in no other menu.
func TestCPQState(t *testing.T) {
	_, st := settings(t, config.Gateway)
	l := language(t, Configuration{Store: st, CPQState: func() string { return "suspended" }}.Commands()...)
	wants(t, "cpqconfig", first(run(t, l, admin, "cpqconfig")), "Port: 7025\nState: suspended\n")
}

// Arguments that make no sense end with status 2, whoever found out.
func TestBadArguments(t *testing.T) {
	l, _ := settings(t, config.Gateway)
	w := ward(t)
	for line, h := range map[string]*house{"interfaceconfig new": l, "interfaceconfig new X 999.0.0.1 a.b.c": l, "cpqconfig port 0": l, "cpqconfig port 65536": l, "filters detail": l, "filters delete": l, "cpqconfig foo": l,
		"quarantine release abc": w, "quarantine search mid abc": w, "quarantine search state foo": w, "quarantine": w, "quarantine odd": w} {
		if out, status := run(t, h, admin, line); status != exitInvalid || !strings.HasPrefix(out, "Invalid arguments: ") {
			t.Errorf("%s: %d %q", line, status, out)
		}
	}
}
