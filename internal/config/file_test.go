package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// password is one hash for all samples: making one is slow on purpose.
var password = sync.OnceValues(func() (string, error) { return auth.HashPassword("correct horse battery") })

func sample(t testing.TB, role Role) *Config {
	t.Helper()
	hash, err := password()
	if err != nil {
		t.Fatal(err)
	}
	return Defaults(Params{Role: role, Hostname: "gw1.example.com", Serial: "GATEWAY001", IP: "127.0.0.1", SSHPort: 2222, SMTPPort: 2525, CPQPort: 7025, Password: hash})
}

// What is written is read back as the same text, for both roles; comments are there.
func TestDefaultsRoundTrip(t *testing.T) {
	for _, role := range []Role{Gateway, Manager} {
		text := sample(t, role).Text(false)
		c, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", role, err, text)
		}
		if got := c.Text(false); string(got) != string(text) {
			t.Errorf("%s: read back differently:\n%s", role, got)
		}
		if !strings.Contains(string(text), "<!-- ") {
			t.Errorf("%s: no comments:\n%s", role, text)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if strings.Contains(strings.TrimLeft(line, " "), "      ") {
				t.Errorf("%s: a run of blanks that clients take for a pager's trace: %q", role, line)
			}
		}
	}
}

// The seed's element, as it stands in the vendor's note.
const seedListener = `<listener>
  <listener_name>cpq_listener</listener_name>
  <protocol>CPQ</protocol>
  <interface_name>Incoming Mail</interface_name>
  <port>7025</port>
  <listen_queue_size>50</listen_queue_size>
  <type>private</type>
  <hat>
$RELAYED
  RELAY {}
$BLOCKED
  REJECT {}
RELAYLIST:
  10.1.2.3
    $RELAYED (Only select hosts can relay from this box)
ALL
  $BLOCKED (Everyone else)
  </hat>
  <rat>
    <rat_entry>
      <rat_address>ALL</rat_address>
      <access>ACCEPT</access>
    </rat_entry>
  </rat>
</listener>`

func TestSeedListener(t *testing.T) {
	c := sample(t, Manager)
	c.Interfaces = append(c.Interfaces, Interface{Name: "Incoming Mail", IP: "10.1.1.1"})
	text := string(c.Text(false))
	start, end := strings.Index(text, "<listener>"), strings.Index(text, "</listeners>")
	got, err := Parse([]byte(text[:start] + seedListener + "\n" + text[end:]))
	if err != nil {
		t.Fatal(err)
	}
	l := got.Listener("cpq_listener")
	if l == nil || l.Interface != "Incoming Mail" || l.Backlog != 50 || !strings.Contains(l.HAT, "10.1.2.3") || len(l.RAT) != 1 {
		t.Errorf("%+v", l)
	}
}

// Each folder of testdata/rejected holds an edit of a valid file (old, new)
// and the message that it must give. "line +2" is the second line behind the
// one on which the edit begins, so that what new releases put elsewhere into
// the file changes no message.
func TestRejected(t *testing.T) {
	cases, err := filepath.Glob("testdata/rejected/*")
	if err != nil || len(cases) < 20 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			read := func(name string) string {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSuffix(string(b), "\n")
			}
			role := Gateway
			if strings.HasPrefix(filepath.Base(dir), "manager-") {
				role = Manager
			}
			good := string(sample(t, role).Text(false))
			if !strings.Contains(good, read("old")) {
				t.Fatalf("%q is not in the file:\n%s", read("old"), good)
			}
			_, err := Parse([]byte(strings.Replace(good, read("old"), read("new"), 1)))
			if err == nil {
				t.Fatal("accepted")
			}
			begin := 1 + strings.Count(good[:strings.Index(good, read("old"))], "\n")
			got := err.Error()
			if m := regexp.MustCompile(`^line (\d+):`).FindStringSubmatch(got); m != nil {
				n, _ := strconv.Atoi(m[1])
				got = fmt.Sprintf("line %+d:", n-begin) + strings.TrimPrefix(got, m[0])
			}
			if os.Getenv("UPDATE_GOLDEN") != "" {
				os.WriteFile(filepath.Join(dir, "message"), []byte(got+"\n"), 0o644)
			}
			if begin, cut := strings.CutSuffix(read("message"), "..."); cut && strings.HasPrefix(got, begin) {
				got = read("message") // what follows grows with each new element
			}
			if got != read("message") {
				t.Errorf("got  %s\nwant %s", got, read("message"))
			}
			if !errs.Is(err, errs.Invalid) {
				t.Errorf("kind %v", errs.KindOf(err))
			}
		})
	}
}

// veto refuses or remembers.
type veto struct {
	err     error
	applied []string
}

func (v *veto) Prepare(*Config) error { return v.err }
func (v *veto) Apply(c *Config)       { v.applied = append(v.applied, c.Hostname) }

// Pending changes take effect by commit only; a veto or a bad value changes
// nothing; what the program writes by itself keeps others' pending changes.
func TestPendingAndCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.xml")
	first := sample(t, Gateway)
	if err := WriteFile(path, first.Text(false), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore(path, first, logs.DiscardAudit(), nil)
	sub := &veto{}
	s.Subscribe(sub)
	p := mail.Principal{Name: "admin", Role: mail.Administrator}
	if _, err := s.Commit(p, ""); err != ErrNothing {
		t.Errorf("commit of nothing: %v", err)
	}
	rename := func(to string) func(*Config) error {
		return func(c *Config) error { c.Hostname = to; return nil }
	}
	if err := s.Change(p, "hostname", rename("two.labels")); err == nil {
		t.Error("a bad value became pending")
	}
	if err := s.Change(p, "serial", func(c *Config) error { c.Serial = "OTHER00001"; return nil }); err == nil {
		t.Error("the serial was changed")
	}
	if err := s.Change(p, "hostname", rename("new.example.com")); err != nil {
		t.Fatal(err)
	}
	if s.Committed().Hostname != "gw1.example.com" {
		t.Error("a pending change is in force")
	}
	if err := s.Update(p, "port", func(c *Config) error { c.SSH.Port = 2200; return nil }); err != nil {
		t.Fatal(err)
	}
	if c, pending := s.Pending(); !pending || c.Hostname != "new.example.com" || c.SSH.Port != 2200 {
		t.Errorf("pending %v: %s %d", pending, c.Hostname, c.SSH.Port)
	}
	sub.err = errs.New(errs.Invalid, "no")
	if _, err := s.Commit(p, "x"); err == nil || s.Committed().Hostname != "gw1.example.com" {
		t.Errorf("veto is not heard: %v", err)
	}
	sub.err = nil
	if _, err := s.Commit(p, "x"); err != nil {
		t.Fatal(err)
	}
	disk, err := Load(path)
	if err != nil || disk.Hostname != "new.example.com" || disk.SSH.Port != 2200 {
		t.Errorf("on disk: %v %v", disk, err)
	}
	if len(sub.applied) != 2 || sub.applied[1] != "new.example.com" {
		t.Errorf("applied %v", sub.applied)
	}
	if err := s.Change(p, "hostname", rename("third.example.com")); err != nil {
		t.Fatal(err)
	}
	if !s.Clear(p) || s.Clear(p) {
		t.Error("clear does not say what it did")
	}
	if err := s.Change(p, "hostname", rename("new.example.com")); err != nil {
		t.Fatal(err)
	}
	if _, pending := s.Pending(); pending {
		t.Error("a change to what is in force is pending")
	}
}

// Both spellings of normalise are read, and one is written.
func TestSpelling(t *testing.T) {
	text := string(sample(t, Gateway).Text(false))
	c, err := Parse([]byte(strings.Replace(text, "<bare_newlines>reject<", "<bare_newlines>normalize<", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.Newlines != "normalise" || !strings.Contains(string(c.Text(false)), "<bare_newlines>normalise<") {
		t.Errorf("%q", c.Limits.Newlines)
	}
}

// A masked file shows no secret and cannot be loaded.
func TestMasked(t *testing.T) {
	text := sample(t, Gateway).Text(true)
	if strings.Contains(string(text), "argon2id$") || !strings.Contains(string(text), "<enc_password>*****</enc_password>") {
		t.Errorf("a secret shows:\n%s", text)
	}
	if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), "masked") {
		t.Errorf("masked file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(f, Gateway).Text(false))
	f.Add([]byte("<config><role>gateway</role></config>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(c.Text(false))
		if err != nil {
			t.Fatalf("%v\n%s", err, c.Text(false))
		}
		if string(again.Text(false)) != string(c.Text(false)) {
			t.Fatal("does not settle")
		}
	})
}

// meddler changes a setting while another change is being committed.
type meddler struct {
	store *Store
	done  chan error
}

func (m *meddler) Prepare(*Config) error {
	began := make(chan struct{})
	go func() {
		close(began)
		m.done <- m.store.Change(mail.System(), "banner", func(c *Config) error { c.Limits.Clients = 77; return nil })
	}()
	<-began
	select { // it must not have got in between; it cannot be waited for
	case err := <-m.done:
		m.done <- err
	case <-time.After(50 * time.Millisecond):
	}
	return nil
}

func (m *meddler) Apply(*Config) {}

// A change that somebody makes while the program writes a pairing does not
// undo it with the next commit.
func TestChangeBesideUpdate(t *testing.T) {
	s := NewStore(filepath.Join(t.TempDir(), "config.xml"), sample(t, Gateway), logs.DiscardAudit(), nil)
	m := &meddler{store: s, done: make(chan error, 1)}
	s.Subscribe(m)
	err := s.Update(mail.System(), "pair", func(c *Config) error { c.Limits.Recipients = 999; return nil })
	if err := errors.Join(err, <-m.done); err != nil {
		t.Fatal(err)
	}
	if c, _ := s.Pending(); c.Limits.Recipients != 999 || c.Limits.Clients != 77 {
		t.Errorf("pending has %+v", c.Limits)
	}
}

// What a change leaves in force is what the next start reads, whatever is put
// into any text; a run of blanks reaches a client that repairs such runs whole.
func TestInForceIsOnDisk(t *testing.T) {
	for _, role := range []Role{Gateway, Manager} {
		s := NewStore(filepath.Join(t.TempDir(), "config.xml"), sample(t, role), logs.DiscardAudit(), nil)
		taken := 0
		for _, hostile := range []string{"\x01", "\xff", "\r\n", "\x00", "\ufffe", "\u2028", "\u0085", "]]>", "&<>", "        x", "\n  y", "ü", "-->"} {
			for i := 0; ; i++ {
				n := 0
				err := s.Update(mail.System(), "probe", func(c *Config) error {
					n = eachText(reflect.ValueOf(c).Elem(), func(k int, v reflect.Value) {
						if k == i {
							v.SetString(v.String() + hostile)
						}
					})
					return nil
				})
				if i >= n {
					break
				}
				if err != nil {
					if !errs.Is(err, errs.Invalid) {
						t.Fatalf("%q in text %d: %v", hostile, i, err)
					}
					continue
				}
				taken++
				disk, err := Load(s.path)
				if err != nil || !reflect.DeepEqual(disk, s.Committed()) {
					t.Fatalf("%q in text %d: %v", hostile, i, err)
				}
				for _, line := range strings.Split(string(disk.Text(false)), "\n") {
					if strings.Contains(strings.TrimLeft(line, " "), "      ") || hostile != "\r\n" && strings.Contains(line, "\r") {
						t.Fatalf("%q in text %d: line %q", hostile, i, line)
					}
				}
			}
		}
		if taken == 0 {
			t.Error("nothing was taken: the test proves nothing")
		}
	}
}

// eachText calls f for each text in v with its number, and gives how many there are.
func eachText(v reflect.Value, f func(int, reflect.Value)) int {
	n := 0
	var walk func(reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.String:
			f(n, v)
			n++
		}
	}
	walk(v)
	return n
}
