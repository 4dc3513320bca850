package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// script is a console whose lines are typed beforehand.
type script struct {
	strings.Builder
	lines         []string
	keys          string
	columns, rows int
	stop          chan struct{}
}

func newScript(lines ...string) *script { return &script{lines: lines, stop: make(chan struct{})} }

func (s *script) ReadLine(prompt string) (string, error) {
	s.WriteString(prompt)
	if len(s.lines) == 0 {
		return "", io.EOF
	}
	l := s.lines[0]
	s.lines = s.lines[1:]
	if l == "^C" {
		s.WriteString("^C\n")
		return "", console.ErrInterrupt
	}
	s.WriteString(l + "\n")
	return l, nil
}

func (s *script) ReadPassword(prompt string) (string, error) {
	if len(s.lines) == 0 {
		return "", io.EOF
	}
	l := s.lines[0]
	s.lines = s.lines[1:]
	s.WriteString(prompt + "\n")
	return l, nil
}

func (s *script) ReadKey() (byte, error) {
	if s.keys == "" {
		return 0, io.EOF
	}
	k := s.keys[0]
	s.keys = s.keys[1:]
	return k, nil
}

func (s *script) Interrupted() <-chan struct{} { return s.stop }
func (s *script) Size() (int, int)             { return s.columns, s.rows }

type trail []string

func (t *trail) Record(p mail.Principal, what, result string) {
	*t = append(*t, p.Name+": "+what+": "+result)
}

type house struct {
	*Language
	trail  trail
	faults []string
}

func language(t *testing.T, commands ...Command) *house {
	t.Helper()
	h := &house{}
	l, err := New(Options{
		Host: func() string { return "gw1.demo.example" }, Product: "Lazaret 1 for Test", Welcome: "Welcome to the test",
		Version: []string{"Version: 1"}, Audit: &h.trail,
		Fault: func(c, text string) { h.faults = append(h.faults, c+": "+text) },
		Clock: func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) },
	}, commands...)
	if err != nil {
		t.Fatal(err)
	}
	h.Language = l
	return h
}

var (
	admin = mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.1", Via: "ssh"}
	guest = mail.Principal{Name: "eve", Role: mail.Guest, From: "192.0.2.2", Via: "ssh"}
)

func cmd(name string, right auth.Right, max int, run func(*Call) error) Command {
	return Command{Name: name, Summary: "Does " + name, Usage: name, Right: right, MaxArgs: max, Run: func(_ context.Context, c *Call) error { return run(c) }}
}

func echo(c *Call) error { c.Printf("%q\n", c.Args); return nil }

func TestWords(t *testing.T) {
	for line, want := range map[string]string{
		``:                              `[]`,
		` ; ;`:                          `[]`,
		`status`:                        `[["status"]]`,
		`grep "CPQ ICID" mail_logs`:     `[["grep" "CPQ ICID" "mail_logs"]]`,
		`grep 'a"b;c' x;version;`:       `[["grep" "a\"b;c" "x"] ["version"]]`,
		`a "" b`:                        `[["a" "" "b"]]`,
		`grep \d+\.\w "a\"b\\c\d"`:      `[["grep" "\\d+\\.\\w" "a\"b\\c\\d"]]`,
		"a\tb\nc":                       `[["a" "b" "c"]]`,
		`commit "msg" Y; version; x"y"`: `[["commit" "msg" "Y"] ["version"] ["xy"]]`,
	} {
		got, err := split(line)
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("%s: %q %v", line, got, err)
		}
	}
	for _, bad := range []string{`a "b`, `'`, strings.Repeat("x", maxLine+1), strings.Repeat("x ", maxWords+1)} {
		if _, err := split(bad); err == nil {
			t.Errorf("%.20q accepted", bad)
		}
	}
}

// What the audit shows reads back as the words that were typed.
func FuzzWords(f *testing.F) {
	f.Add(`a "b c" 'd;e' \x "\""`)
	f.Fuzz(func(t *testing.T, line string) {
		commands, err := split(line)
		if err != nil {
			return
		}
		for _, words := range commands {
			again, err := split(quoted(words))
			if err != nil || len(again) != 1 || fmt.Sprintf("%q", again[0]) != fmt.Sprintf("%q", words) {
				t.Fatalf("%q became %q, %v", words, again, err)
			}
		}
	})
}

func TestExec(t *testing.T) {
	l := language(t,
		cmd("echo", auth.Status, -1, echo),
		cmd("thing list", auth.Status, 0, func(c *Call) error { c.Printf("things\n"); return nil }),
		cmd("wipe", auth.QueueChange, 0, echo),
		cmd("fail", auth.Status, 0, func(*Call) error { return errs.New(errs.NotFound, "host x does not exist") }),
		cmd("fault", auth.Status, 0, func(*Call) error { return errors.New("secret path") }),
		cmd("panic", auth.Status, 0, func(*Call) error { panic("on purpose") }),
	)
	for _, c := range []struct {
		p      mail.Principal
		line   string
		status int
		out    string
	}{
		{admin, `echo a "b c"; echo`, 0, "[\"a\" \"b c\"]\n[]\n"},
		{admin, "", 0, ""},
		{admin, "thing list", 0, "things\n"},
		{admin, "THING List", 0, "things\n"},
		{admin, "thing", 2, "Invalid arguments: thing is followed by one of these:\n  thing list           Does thing list\n"},
		{mail.Principal{Name: "k", Role: mail.CommandClient}, "thing", 2, "Unknown command or missing feature key: thing\n"},
		{admin, "clustermode cluster; echo", 2, "Unknown command or missing feature key: clustermode\n[]\n"},
		{admin, "thing list --help", 0, "thing list - Does thing list\n  thing list\n"},
		{admin, "thing --help", 0, "thing list - Does thing list\n  thing list\n"},
		{admin, "wipe --help", 0, "wipe - Does wipe\n  wipe\n"},
		{admin, "echo a b --help", 0, "[\"a\" \"b\" \"--help\"]\n"},
		{mail.Principal{Name: "k", Role: mail.CommandClient}, "echo --help", 2, "Unknown command or missing feature key: help\n"},
		{admin, "wipe x", 2, "Invalid arguments: wipe takes no arguments\nUsage:\n  wipe\n"},
		{admin, "fail; echo", 1, "host x does not exist\n[]\n"},
		{admin, "fault", 1, "internal error\n"},
		{admin, "panic; echo", 1, "The command failed by a fault of the program; the cause is in the log\n[]\n"},
		{admin, `echo "x`, 2, "Invalid arguments: a quote \" is not closed\n"},
		{admin, "exit; echo", 0, ""},
		{guest, "wipe", 2, "Unknown command or missing feature key: wipe\n"},
		{guest, "echo; id\x1b[2J", 2, "[]\nUnknown command or missing feature key: id\\u001b[2J\n"},
		{mail.Principal{Name: "k", Role: mail.CommandClient}, "help; version; echo", 2,
			"Unknown command or missing feature key: help\nUnknown command or missing feature key: version\nUnknown command or missing feature key: echo\n"},
	} {
		s := newScript()
		if got := l.Exec(t.Context(), c.p, c.line, s); got != c.status || s.String() != c.out {
			t.Errorf("%s %q: status %d, want %d; output\n%q, want\n%q", c.p.Name, c.line, got, c.status, s.String(), c.out)
		}
	}
	if len(l.faults) != 2 || !strings.Contains(l.faults[0], "secret path") || !strings.Contains(l.faults[1], "on purpose") {
		t.Errorf("faults %q", l.faults)
	}
	if !strings.Contains(strings.Join(l.trail, "\n"), "eve: wipe: denied") {
		t.Errorf("trail %q", l.trail)
	}
}

// The same questions are asked in a shell and answered by the words of a line,
// and both leave the same audit line, without the password.
func TestQuestions(t *testing.T) {
	change := cmd("change", auth.Status, 5, func(c *Call) error {
		word, err := c.Menu(Choice{"NEW", "Make one"}, Choice{"DELETE", "Delete one"})
		if err != nil || word == "" {
			return err
		}
		name, err := c.Ask("Name of it:", "default")
		if err != nil {
			return err
		}
		n, err := c.Pick("Which sort?", []string{"alpha", "beta"}, 0)
		if err != nil {
			return err
		}
		if _, err := c.Password("Password: "); err != nil && !c.Batch {
			return err
		}
		sure, err := c.Confirm("Are you sure?", false)
		if err == nil {
			c.Printf("%s %s %d %v\n", word, name, n, sure)
		}
		return err
	})
	change.Changes = true
	l := language(t, change)
	s := newScript("change", "nonsense", "new", "", "2", "hunter2", "maybe", "y", "change", "^C", "change", "", "exit")
	l.Shell(t.Context(), admin, s)
	want := `Last login: none since the start of the system
Lazaret 1 for Test

Welcome to the test
gw1.demo.example> change

Choose the operation you want to perform:
- NEW - Make one
- DELETE - Delete one
[]> nonsense

Unknown option: nonsense

Choose the operation you want to perform:
- NEW - Make one
- DELETE - Delete one
[]> new
Name of it:
[default]> 
Which sort?
1. alpha
2. beta
[1]> 2
Password: 
Are you sure? [N]> maybe
You must answer yes or no.
Are you sure? [N]> y
new default 1 true
gw1.demo.example> change

Choose the operation you want to perform:
- NEW - Make one
- DELETE - Delete one
[]> ^C
gw1.demo.example> change

Choose the operation you want to perform:
- NEW - Make one
- DELETE - Delete one
[]> 
gw1.demo.example> exit
`
	if s.String() != want {
		t.Errorf("dialogue\n%s\nwant\n%s", s.String(), want)
	}
	s = newScript("not read")
	if status := l.Exec(t.Context(), admin, `change new "a name" beta Y`, s); status != 0 || s.String() != "new a name 1 true\n" {
		t.Errorf("one line: %d %q", status, s.String())
	}
	if status := l.Exec(t.Context(), admin, "change new a gamma", newScript()); status != exitInvalid {
		t.Errorf("a wrong answer in a line gave status %d", status)
	}
	if status := l.Exec(t.Context(), admin, "change", newScript("new")); status != 0 {
		t.Errorf("nobody to ask: status %d", status)
	}
	got := strings.Join(l.trail, "\n")
	for _, line := range []string{`admin: change nonsense new "" 2 maybe y: ok`, `admin: change: left`, `admin: change new "a name" beta Y: ok`} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Error("the password is in the audit")
	}
}

// Nothing that comes from mail acts on a terminal, whoever prints it how.
func TestHostileOutput(t *testing.T) {
	const evil = "a\x1b[2Jb\u009bc\u202ed\u2028e\x00f\x7fg\xffh\rj\x08k\u2066l\x9bm"
	l := language(t,
		cmd("whole", auth.Status, 0, func(c *Call) error { c.Printf("%s\r\n", evil); return nil }),
		cmd("bytes", auth.Status, 0, func(c *Call) error {
			for i := range len(evil) {
				c.Write([]byte{evil[i]})
			}
			return nil
		}),
		cmd("error", auth.Status, 0, func(c *Call) error { return errs.New(errs.NotFound, "%s\nforged line", evil) }),
		cmd("cut", auth.Status, 0, func(c *Call) error { c.Write([]byte("ä\xe2\x80")); return nil }),
	)
	const harmless = `a\u001b[2Jb\u009bc\u202ed\u2028e\u0000f\u007fg\xffh\u000dj\u0008k\u2066l\x9bm`
	for line, want := range map[string]string{"whole": harmless + "\n", "bytes": harmless, "error": harmless + `\u000aforged line` + "\n", "cut": `ä\xe2\x80`} {
		s := newScript()
		l.Exec(t.Context(), admin, line, s)
		if s.String() != want {
			t.Errorf("%s: %q, want %q", line, s.String(), want)
		}
	}
	if p := Plain("a\tb\nc"); p != `a\u0009b\u000ac` {
		t.Errorf("field %q", p)
	}
	if c := Clip(strings.Repeat("ä", 20), 10); c != strings.Repeat("ä", 7)+"..." {
		t.Errorf("clipped %q", c)
	}
}

func FuzzSanitise(f *testing.F) {
	f.Add([]byte("a\x1b\xff\u202e\r\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		s := newScript()
		o := newOutput(s, false)
		cut = min(max(cut, 0), len(b))
		o.Write(b[:cut])
		o.Write(b[cut:])
		o.finish()
		for _, r := range s.String() {
			if dangerous(r) && r != '\n' && r != '\t' || r == '\uFFFD' && !strings.ContainsRune(string(b), '\uFFFD') {
				t.Fatalf("%q let %q through", b, r)
			}
		}
	})
}

func TestPager(t *testing.T) {
	list := cmd("list", auth.Status, 0, func(c *Call) error {
		for i := range 7 {
			c.Printf("line %d\n", i)
			if err := c.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	long := cmd("long", auth.Status, 0, func(c *Call) error { c.Printf("%s\nend\n", strings.Repeat("x", 25)); return nil })
	l := language(t, list, long)
	run := func(shell bool, keys, line string) string {
		s := newScript()
		s.columns, s.rows, s.keys = 10, 4, keys
		l.line(t.Context(), admin, line, s, shell)
		return s.String()
	}
	const stop = more + clearMore
	if got, want := run(true, " \n", "list"), "line 0\nline 1\nline 2\n"+stop+"line 3\nline 4\nline 5\n"+stop+"line 6\n"; got != want {
		t.Errorf("paged %q, want %q", got, want)
	}
	if got, want := run(true, "q", "list; list"), "line 0\nline 1\nline 2\n"+stop; got != want {
		t.Errorf("left %q, want %q", got, want)
	}
	if got, want := run(true, " ", "long"), strings.Repeat("x", 25)+"\n"+stop+"end\n"; got != want {
		t.Errorf("wrapped lines %q, want %q", got, want)
	}
	if got := run(false, "", "list"); strings.Contains(got, more) || !strings.HasSuffix(got, "line 6\n") {
		t.Errorf("an executed command was paged: %q", got)
	}
}

// Ctrl-C ends a command that follows something, and the shell goes on.
func TestInterrupt(t *testing.T) {
	started := make(chan struct{})
	l := language(t, Command{Name: "follow", Right: auth.Status, Run: func(ctx context.Context, c *Call) error {
		c.Live()
		c.Printf("one\n")
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}})
	s := newScript("follow", "version")
	go func() {
		<-started
		close(s.stop)
	}()
	l.Shell(t.Context(), admin, s)
	if !strings.HasSuffix(s.String(), "one\ngw1.demo.example> version\nVersion: 1\ngw1.demo.example> ") {
		t.Errorf("%q", s.String())
	}
}

func TestHelpAndRoles(t *testing.T) {
	hidden := cmd("cpqlocate", auth.CommandClient, 0, echo)
	hidden.Hidden = true
	l := language(t, hidden, cmd("wipe", auth.QueueChange, 0, echo), cmd("thing list", auth.Status, 0, echo), cmd("thing show", auth.Status, 1, echo))
	show := func(p mail.Principal, line string) string {
		s := newScript()
		l.Exec(t.Context(), p, line, s)
		return s.String()
	}
	if got := show(admin, "help"); !strings.Contains(got, "\nwipe ") || strings.Contains(got, "cpq") {
		t.Errorf("administrator sees\n%s", got)
	}
	if got := show(guest, "help") + show(guest, "help wipe"); strings.Contains(got, "\nwipe ") || !strings.Contains(got, "Unknown command") {
		t.Errorf("guest sees\n%s", got)
	}
	if got := show(guest, "help thing"); !strings.Contains(got, "thing list - ") || !strings.Contains(got, "thing show - ") {
		t.Errorf("a group's help: %s", got)
	}
	if got := show(guest, "help thing show"); got != "thing show - Does thing show\n  thing show\n" {
		t.Errorf("one of a group: %s", got)
	}
	if got := show(admin, "help wipe all"); got != show(admin, "help wipe") {
		t.Errorf("a word of a command: %s", got)
	}
	s := newScript("version")
	l.Shell(t.Context(), mail.Principal{Name: "h", Role: mail.HelpDesk}, s)
	if s.String() != "The role Help Desk has no command line.\n" {
		t.Errorf("help desk got in: %q", s.String())
	}
	if _, err := New(Options{Host: func() string { return "" }, Audit: &trail{}, Fault: func(string, string) {}}, cmd("help", auth.Login, 0, echo)); err == nil {
		t.Error("a name twice was accepted")
	}
}

// The hidden command for whoever looks for a leak gives numbers, and is in no
// list of commands.
func TestDiagnostic(t *testing.T) {
	l := language(t, Diagnostic())
	s := newScript()
	l.Exec(t.Context(), admin, "diagnostic", s)
	for _, name := range []string{"Goroutines", `Resident \(KB\)`, "Open files", `Heap in use \(KB\)`} {
		if !regexp.MustCompile(`(?m)^` + name + ` +[1-9][0-9,]*$`).MatchString(s.String()) {
			t.Errorf("no %s in\n%s", name, s.String())
		}
	}
	s = newScript()
	if code := l.Exec(t.Context(), admin, "diagnostic heap", s); code != 0 || !strings.HasPrefix(s.String(), "heap profile: ") || !strings.Contains(s.String(), "# runtime.MemStats") {
		t.Errorf("status %d, no profile that pprof reads: %.200s", code, s.String())
	}
	s = newScript()
	if code := l.Exec(t.Context(), admin, "diagnostic goroutine", s); code != 0 || !strings.Contains(s.String(), "TestDiagnostic") {
		t.Errorf("status %d: %.200s", code, s.String())
	}
	for _, who := range []struct {
		p    mail.Principal
		line string
	}{{mail.Principal{Name: "oscar", Role: mail.Operator}, "diagnostic heap"}, {admin, "diagnostic cmdline"}} {
		s = newScript()
		if code := l.Exec(t.Context(), who.p, who.line, s); code == 0 || strings.Contains(s.String(), "profile: ") {
			t.Errorf("%s ran %s: %.200s", who.p.Name, who.line, s.String())
		}
	}
	s = newScript()
	if l.Exec(t.Context(), admin, "help", s); strings.Contains(s.String(), "diagnostic") {
		t.Error("is in help")
	}
}
