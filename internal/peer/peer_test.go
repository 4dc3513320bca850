package peer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"lazaret/internal/adminssh"
	"lazaret/internal/auth"
	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serial = "GATEWAY0001"

var pin = "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, 32))

// gateway answers on a real SSH server, like a gateway would.
type gateway struct {
	t      *testing.T
	users  *auth.Users
	hash   string
	addr   string
	host   ssh.Signer
	server *adminssh.Server

	mu     sync.Mutex
	port   uint16
	asked  int
	answer func(g *gateway, line string, c console.Console) int // nil: as it should
	hold   chan struct{}
}

func (g *gateway) Shell(context.Context, mail.Principal, console.Console) {}

func (g *gateway) Exec(_ context.Context, p mail.Principal, line string, c console.Console) int {
	g.mu.Lock()
	answer := g.answer
	g.asked++
	g.mu.Unlock()
	if answer != nil {
		return answer(g, line, c)
	}
	word, rest, _ := strings.Cut(line, " ")
	if !auth.Can(p.Role, auth.CommandClient) {
		return 2
	}
	if word == PairCommand {
		return g.pair(rest, c)
	}
	fmt.Fprintf(c, "%s\n", encode(g.location()))
	return 0
}

func (g *gateway) pair(word string, c console.Console) int {
	r, err := DecodePairRequest(word)
	if err != nil {
		fmt.Fprintln(c, err)
		return 1
	}
	if err := g.users.Set([]auth.User{{Name: "admin", Group: mail.Administrator, Hash: g.hash}, {Name: "cpq-manager", Group: mail.CommandClient, Keys: []string{r.Key}}}); err != nil {
		fmt.Fprintln(c, err)
		return 1
	}
	fmt.Fprintf(c, "%s\n", encode(PairReply{Version: 1, Serial: serial, Name: "gw1.demo.example", Pins: []string{pin}, User: "cpq-manager", Location: g.location()}))
	return 0
}

func (g *gateway) location() Location {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Location{Version: 1, Serial: serial, Interface: "Management", Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), g.port)}
}

func (g *gateway) set(port uint16, answer func(*gateway, string, console.Console) int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.port, g.answer = port, answer
}

func (g *gateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (g *gateway) Record(mail.Principal, string, string) {}

func start(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, port: 7125, hold: make(chan struct{})}
	var err error
	if g.hash, err = auth.HashPassword("secret"); err != nil {
		t.Fatal(err)
	}
	if g.users, err = auth.NewUsers([]auth.User{{Name: "admin", Group: mail.Administrator, Hash: g.hash}}, auth.Options{}); err != nil {
		t.Fatal(err)
	}
	if g.host, err = adminssh.NewKey(filepath.Join(t.TempDir(), "host")); err != nil {
		t.Fatal(err)
	}
	g.server, err = adminssh.New(adminssh.Options{Users: g.users, HostKey: g.host, Runner: g, Audit: g, Fault: func(string, string) {}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- g.server.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		close(g.hold)
		g.server.Close()
		<-done
	})
	return g
}

type faults struct {
	mu   sync.Mutex
	list []string
}

func (f *faults) add(component, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, component+": "+text)
}

func (f *faults) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.list, "\n")
}

// paired gives a gateway that a manager has added, and that manager's client.
func paired(t *testing.T, f *faults, timeout time.Duration) (*gateway, Gateway, ClientOptions) {
	t.Helper()
	g := start(t)
	key, err := adminssh.NewKey(filepath.Join(t.TempDir(), "client"))
	if err != nil {
		t.Fatal(err)
	}
	o := options(g, f)
	o.Request.Key = string(ssh.MarshalAuthorizedKey(key.PublicKey()))
	p, err := Pair(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Serial != serial || p.Location.Addr != netip.MustParseAddrPort("127.0.0.1:7125") || p.HostKey != strings.TrimSpace(string(ssh.MarshalAuthorizedKey(g.host.PublicKey()))) {
		t.Fatalf("%+v", p)
	}
	return g, Gateway{Serial: p.Serial, Name: p.Name, Addr: g.addr, User: p.User, HostKey: p.HostKey}, ClientOptions{Key: key, Fault: f.add, Timeout: timeout}
}

func options(g *gateway, f *faults) PairOptions {
	return PairOptions{
		Addr: g.addr, User: "admin", Password: "secret", Fault: f.add,
		Trust: func(fingerprint, key string) error {
			if fingerprint != ssh.FingerprintSHA256(g.host.PublicKey()) {
				return errs.New(errs.Denied, "not this one")
			}
			return nil
		},
		Request: PairRequest{Version: 1, Serial: "MANAGER0001", Name: "sma1.demo.example", CPQ: "127.0.0.1:7025", Pins: []string{pin},
			Key: string(ssh.MarshalAuthorizedKey(g.host.PublicKey()))},
	}
}

// The answer is kept until it is forgotten; then a changed port is found.
func TestLocate(t *testing.T) {
	f := &faults{}
	g, who, o := paired(t, f, 0)
	c := NewClient(o)
	want := netip.MustParseAddrPort("127.0.0.1:7125")
	for range 3 {
		if l, err := c.Locate(t.Context(), who); err != nil || l.Addr != want || l.Interface != "Management" {
			t.Fatalf("%+v %v", l, err)
		}
	}
	if n := g.count(); n != 2 { // pairing and one question
		t.Errorf("asked %d times", n)
	}
	g.set(7999, nil)
	c.Forget(who.Serial)
	if l, err := c.Locate(t.Context(), who); err != nil || l.Addr.Port() != 7999 {
		t.Errorf("the changed port is not found: %+v %v", l, err)
	}
	if f.String() != "" {
		t.Errorf("faults: %s", f)
	}
}

// Each trouble is one failed attempt with its cause, and the next one starts anew.
func TestTroubles(t *testing.T) {
	say := func(text string, status int) func(*gateway, string, console.Console) int {
		return func(_ *gateway, _ string, c console.Console) int {
			fmt.Fprint(c, text)
			return status
		}
	}
	hang := func(g *gateway, _ string, _ console.Console) int { <-g.hold; return 0 }
	other := Location{Version: 1, Serial: "GATEWAY0002", Interface: "Management", Addr: netip.MustParseAddrPort("10.0.0.1:25")}
	for _, c := range []struct {
		name   string
		answer func(*gateway, string, console.Console) int
		cause  string
		fault  string
	}{
		{"hang", hang, "no answer within 3s", "command client: gw1.demo.example: the command client had no answer within 3s"},
		{"panic there", func(*gateway, string, console.Console) int { panic("x") }, "ended with status 1", ""},
		{"failure", say("Unknown command: cpqlocate\x1b[2J\nmore\n", 2), `ended with status 2: Unknown command: cpqlocate`, ""},
		{"nothing", say("", 0), "not the JSON", ""},
		{"unknown field", say(`{"version":1,"shell":"/bin/sh"}`, 0), "not the JSON", ""},
		{"two values", say(encode(other)+encode(other), 0), "text behind", ""},
		{"another's place", say(encode(other), 0), `says it is "GATEWAY0002"`, ""},
		{"endless", say(strings.Repeat("x", 1<<20), 0), "broken off", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if c.fault != "" {
				timeout = 3 * time.Second // long enough for the attempts before and after, on a busy machine
			}
			f := &faults{}
			g, who, o := paired(t, f, timeout)
			client := NewClient(o)
			g.set(7125, c.answer)
			_, err := client.Locate(t.Context(), who)
			if err == nil || !strings.Contains(err.Error(), c.cause) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error %v, want %q", err, c.cause)
			}
			if f.String() != c.fault {
				t.Errorf("faults %q, want %q", f, c.fault)
			}
			var told interface{ Logged() bool }
			if errors.As(err, &told) != (c.fault != "") {
				t.Errorf("whether %v was written cannot be told", err)
			}
			g.set(7125, nil)
			if _, err := client.Locate(t.Context(), who); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}

// A panic inside the client is contained, and so is one that never returns.
func TestPanicHere(t *testing.T) {
	t.Parallel()
	f := &faults{}
	_, who, o := paired(t, f, 3*time.Second)
	stuck := make(chan struct{})
	defer close(stuck)
	var calls atomic.Int32
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		switch calls.Add(1) {
		case 1:
			panic("index out of range")
		case 2:
			<-stuck // deaf to its context
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	c := NewClient(o)
	for _, want := range []string{"fault of the program: index out of range", "no answer within 3s"} {
		if _, err := c.Locate(t.Context(), who); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if !strings.Contains(f.String(), "panic: index out of range") || !strings.Contains(f.String(), "no answer") {
		t.Errorf("faults: %s", f)
	}
	if _, err := c.Locate(t.Context(), who); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

func TestWrongHostKey(t *testing.T) {
	f := &faults{}
	_, who, o := paired(t, f, 0)
	who.HostKey = string(ssh.MarshalAuthorizedKey(o.Key.PublicKey()))
	_, err := NewClient(o).Locate(t.Context(), who)
	if !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "another host key than the one pinned") {
		t.Errorf("%v", err)
	}
}

// The key that pairing installed opens the two questions and nothing else; a
// key that was taken away opens nothing.
func TestClientKey(t *testing.T) {
	f := &faults{}
	g, who, o := paired(t, f, 0)
	if err := g.users.Set([]auth.User{{Name: "admin", Group: mail.Administrator, Hash: g.hash}}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(o).Locate(t.Context(), who); !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "does not accept the login of user cpq-manager") {
		t.Errorf("%v", err)
	}
}

func TestPairRefused(t *testing.T) {
	f := &faults{}
	g := start(t)
	o := options(g, f)
	o.Password = "wrong"
	if _, err := Pair(t.Context(), o); !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "does not accept the login of user admin") {
		t.Errorf("wrong password: %v", err)
	}
	o = options(g, f)
	o.Trust = func(string, string) error { return errs.New(errs.Denied, "the host key was not accepted") }
	if _, err := Pair(t.Context(), o); err == nil || err.Error() != "the host key was not accepted" || g.count() > 0 {
		t.Errorf("distrust: %v", err)
	}
	o = options(g, f)
	o.Request.Pins = []string{"sha1/xx"}
	if _, err := Pair(t.Context(), o); !errs.Is(err, errs.Invalid) || g.count() > 0 {
		t.Errorf("a bad request was sent: %v", err)
	}
	o = options(g, f)
	g.set(1, func(_ *gateway, _ string, c console.Console) int {
		fmt.Fprintln(c, encode(PairReply{Version: 1, Serial: serial, Name: "gw1.demo.example", Pins: []string{pin}, User: "x; y\n", Location: g.locationNoLock()}))
		return 0
	})
	if _, err := Pair(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not a user name") {
		t.Errorf("a hostile answer: %v", err)
	}
}

func (g *gateway) locationNoLock() Location {
	return Location{Version: 1, Serial: serial, Interface: "Management", Addr: netip.MustParseAddrPort("127.0.0.1:1")}
}
