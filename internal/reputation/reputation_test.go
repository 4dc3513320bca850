package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/testlib"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// troubles is a Log.
type troubles struct {
	mu   sync.Mutex
	said []string
}

func (l *troubles) ReputationFailed(source, cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, source+": "+cause)
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// What counts as listed, what does not, and what is no answer at all.
func TestListed(t *testing.T) {
	r := &dns.Fake{Addr: map[string][]netip.Addr{
		"1.2.0.192.zone.example":  addrs("127.0.0.2"),
		"2.2.0.192.zone.example":  addrs("127.255.255.254"),
		"3.2.0.192.zone.example":  addrs("198.51.100.7"),
		"4.2.0.192.zone.example":  addrs("127.0.0.2", "127.255.255.255"),
		"6.2.0.192.zone.example":  addrs("::1"), // only A records count
		"7.2.0.192.other.example": addrs("127.0.0.2"),
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zone.example": addrs("127.0.0.4"),
	}, Fail: map[string]error{"5.2.0.192.zone.example": errs.New(errs.Temporary, "no name server answered")}}
	for ip, want := range map[string]string{
		"192.0.2.1":          "true",
		"::ffff:192.0.2.1":   "true",
		"2001:db8::1":        "true",
		"2001:db8::2":        "false",
		"192.0.2.2":          "false it refuses to answer (127.255.255.254)",
		"192.0.2.3":          "false it answers with 198.51.100.7",
		"192.0.2.4":          "false it refuses to answer (127.255.255.255)",
		"192.0.2.5":          "false no name server answered",
		"192.0.2.6":          "false",
		"192.0.2.7":          "false",
		"192.0.2.8":          "false",
		"fe80::1%eth0":       "false",
		"::ffff:192.0.2.255": "false",
	} {
		is, err := Listed(t.Context(), r, "zone.example", netip.MustParseAddr(ip))
		got := fmt.Sprint(is)
		if err != nil {
			got += " " + errs.Public(err)
		}
		if !strings.HasPrefix(got, want) || err == nil && got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

// All questions at once, none longer than the context; a trouble is said once,
// and again after a while.
func TestAsk(t *testing.T) {
	r := &dns.Fake{Addr: map[string][]netip.Addr{"1.2.0.192.a.example": addrs("127.0.0.2")}, Fail: map[string]error{"1.2.0.192.c.example": errs.New(errs.Temporary, "broken")}}
	log, now := &troubles{}, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	s, err := New(Options{Resolver: r, Log: log, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() string {
		listed, score := s.Ask(t.Context(), netip.MustParseAddr("192.0.2.1"), access.Needs{Zones: []string{"a.example", "b.example", "c.example"}, Score: true})
		return fmt.Sprint(listed, score)
	}
	for range 3 {
		if got := ask(); got != "map[a.example:true] None" {
			t.Error(got)
		}
	}
	if fmt.Sprint(log.said) != "[DNS list c.example: broken]" {
		t.Error(log.said)
	}
	now = now.Add(quiet)
	s.Use(broken{})
	if got := ask(); got != "map[a.example:true] unable to retrieve" {
		t.Error(got)
	}
	if len(log.said) != 3 || log.said[1] == log.said[2] {
		t.Error(log.said)
	}
	s.Use(Zone{r, "rep.example"})
	r.Addr["1.2.0.192.rep.example"] = addrs("127.0.4.33")
	if got := ask(); got != "map[a.example:true] -3.4" {
		t.Error(got)
	}
	s.Use(nil)
	if got := ask(); got != "map[a.example:true] None" {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if listed, _ := s.Ask(ctx, netip.MustParseAddr("192.0.2.1"), access.Needs{Zones: []string{"a.example"}}); len(listed) != 0 {
		t.Error("an answer after the end")
	}
}

// However many connections ask, so many questions are on the way.
func TestQuestionsAreBounded(t *testing.T) {
	held := &holding{come: make(chan struct{}, 10*maxQuestions), let: make(chan struct{})}
	s, err := New(Options{Resolver: held, Log: &troubles{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range maxQuestions + 200 {
		wg.Go(func() {
			s.Ask(ctx, netip.MustParseAddr("192.0.2.1"), access.Needs{Zones: []string{"a.example"}})
		})
	}
	for range maxQuestions {
		<-held.come
	}
	cancel() // those without a place go
	close(held.let)
	wg.Wait()
	if n := len(held.come); n > 200 { // and some may have got a place in that moment
		t.Errorf("%d more questions", n)
	}
	if len(s.slots) != 0 {
		t.Errorf("%d places are still taken", len(s.slots))
	}
}

type holding struct {
	dns.Fake
	come, let chan struct{}
}

func (h *holding) LookupIPv4(context.Context, string) ([]netip.Addr, error) {
	h.come <- struct{}{}
	<-h.let
	return nil, errs.New(errs.NotFound, "no")
}

type broken struct{}

func (broken) Score(context.Context, netip.Addr) (int, bool, error) {
	return 0, false, errs.New(errs.Temporary, "cannot")
}
func (broken) String() string { return "broken source" }

// A file of scores: the longest network counts, a change is seen, a mistake in
// it changes nothing and is said.
func TestFile(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "scores"), time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	put := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(age), now.Add(age)); err != nil {
			t.Fatal(err)
		}
	}
	put("# ours\n\n192.0.2.0/24 -4.5\n192.0.2.7\t9.0\r\n2001:db8::/32 0\n", 0)
	f, err := OpenFile(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	score := func(ip string) string {
		tenths, known, err := f.Score(t.Context(), netip.MustParseAddr(ip))
		return fmt.Sprint(tenths, known, err != nil)
	}
	for ip, want := range map[string]string{"192.0.2.1": "-45 true false", "192.0.2.7": "90 true false", "2001:db8:1::1": "0 true false", "198.51.100.1": "0 false false"} {
		if got := score(ip); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	put("192.0.2.1 1.0\n", time.Second)
	if got := score("192.0.2.1"); got != "-45 true false" {
		t.Errorf("looked too soon: %s", got)
	}
	now = now.Add(lookAgain)
	if got := score("192.0.2.1"); got != "10 true false" || f.Len() != 1 {
		t.Errorf("the change was not seen: %s", got)
	}
	put("192.0.2.1 2.0\nrubbish\n", 2*time.Second)
	now = now.Add(lookAgain)
	if got := score("192.0.2.1") + ", " + score("192.0.2.2"); got != "10 true false, 0 false true" {
		t.Errorf("with a mistake: %s", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookAgain)
	if got := score("192.0.2.1") + ", " + score("192.0.2.2"); got != "10 true false, 0 false true" {
		t.Errorf("without the file: %s", got)
	}
	put("192.0.2.2 3.0\n", 3*time.Second)
	now = now.Add(lookAgain)
	if got := score("192.0.2.1") + ", " + score("192.0.2.2"); got != "0 false false, 30 true false" {
		t.Errorf("mended: %s", got)
	}
}

func TestRefusedFiles(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":            "line 1: an address or network and its score",
		"# x\n192.0.2.1 11":    `line 2: "11" is not a score`,
		"192.0.2.1/24 1.0":     "has bits behind its prefix",
		"::ffff:192.0.2.1 1.0": "IPv4 written as IPv6",
		"fe80::1%eth0 1.0":     "neither an address nor a network",
		"mx.example 1.0":       "neither an address nor a network",
		"192.0.2.1 1.0 x":      "line 1: an address or network and its score",
		"192.0.2.1 1.0\n" + strings.Repeat("x", 300): "line 2 is longer than 200 bytes",
	} {
		if _, err := parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := OpenFile(t.TempDir(), nil); err == nil {
		t.Error("a directory was taken")
	}
	if _, err := OpenFile(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("no file was taken")
	}
}

// A zone of scores.
func TestZone(t *testing.T) {
	z := Zone{Name: "rep.example", Resolver: &dns.Fake{Addr: map[string][]netip.Addr{
		"1.2.0.192.rep.example": addrs("127.0.4.0"), "2.2.0.192.rep.example": addrs("127.0.4.100"), "3.2.0.192.rep.example": addrs("127.0.4.50"),
		"4.2.0.192.rep.example": addrs("127.0.4.101"), "5.2.0.192.rep.example": addrs("192.0.2.1"), "1.1.1.10.rep.example": addrs("127.0.4.100"),
	}, Fail: map[string]error{"6.2.0.192.rep.example": errs.New(errs.Temporary, "broken")}}}
	for ip, want := range map[string]string{
		"192.0.2.1": "-100 true false", "192.0.2.2": "100 true false", "192.0.2.3": "0 true false", "192.0.2.4": "0 false true", "192.0.2.5": "0 false true",
		"192.0.2.6": "0 false true", "192.0.2.7": "0 false false", "10.1.1.1": "0 false false",
	} {
		tenths, known, err := z.Score(t.Context(), netip.MustParseAddr(ip))
		if got := fmt.Sprint(tenths, known, err != nil); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

// Who could be answered, and who not.
func TestCheckSender(t *testing.T) {
	fail := errs.New(errs.Temporary, "broken")
	r := &dns.Fake{
		MX:   map[string]dns.MXSet{"mx.example": {Records: []dns.MX{{Host: "a.mx.example", Preference: 10}}}, "null.example": {Null: true}},
		Addr: map[string][]netip.Addr{"host.example": addrs("192.0.2.1"), "null.example": addrs("192.0.2.1")},
		Fail: map[string]error{"down.example": fail},
	}
	for domain, want := range map[string]Sender{
		"mx.example": SenderExists, "host.example": SenderExists, "null.example": SenderNullMX, "none.example": SenderMissing, "down.example": SenderNotKnown, "[192.0.2.1]": SenderExists,
	} {
		if got := CheckSender(t.Context(), r, domain); got != want {
			t.Errorf("%s: %d, want %d", domain, got, want)
		}
	}
}

// A real resolver serves a list, a zone of scores and domains of senders.
func TestUnboundServesLists(t *testing.T) {
	at := testlib.NewUnbound(t,
		testlib.Zone{Name: "bl.example", Text: "2.0.0.127 IN A 127.0.0.2\n9.2.0.192 IN A 127.255.255.254\n1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2 IN A 127.0.0.3"},
		testlib.Zone{Name: "rep.example", Text: "1.2.0.192 IN A 127.0.4.10"},
		testlib.Zone{Name: "senders.example", Text: "@ IN MX 10 mail\nmail IN A 192.0.2.1\nnull IN MX 0 ."},
	)
	none := filepath.Join(t.TempDir(), "none")
	stub := dns.New(dns.Options{Servers: func() []dns.Server { return []dns.Server{{Addr: at}} }, HostsFile: none, ResolvConf: none})
	defer stub.Close()
	for ip, want := range map[string]string{"127.0.0.2": "true <nil>", "127.0.0.1": "false <nil>", "2001:db8::1": "true <nil>"} { // RFC 5782 section 5
		is, err := Listed(t.Context(), stub, "bl.example", netip.MustParseAddr(ip))
		if got := fmt.Sprint(is, err); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	if is, err := Listed(t.Context(), stub, "bl.example", netip.MustParseAddr("192.0.2.9")); is || err == nil {
		t.Errorf("%v %v", is, err)
	}
	if tenths, known, err := (Zone{stub, "rep.example"}).Score(t.Context(), netip.MustParseAddr("192.0.2.1")); tenths != -80 || !known || err != nil {
		t.Errorf("%d %v %v", tenths, known, err)
	}
	for domain, want := range map[string]Sender{"senders.example": SenderExists, "mail.senders.example": SenderExists, "null.senders.example": SenderNullMX, "no.senders.example": SenderMissing} {
		if got := CheckSender(t.Context(), stub, domain); got != want {
			t.Errorf("%s: %d, want %d", domain, got, want)
		}
	}
}
