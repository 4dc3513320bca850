package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
	"lazaret/internal/testlib"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a queue with our couriers over a store in memory.
type world struct {
	t     *testing.T
	store *memStore
	q     *queue.Queue
	log   *logLines
	opt   Options
	to    func(queue.Recipient) queue.Dest
	set   func(queue.Dest) queue.Settings
	mid   mail.MID
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: newMemStore(), log: &logLines{}}
	var dcid mail.DCID
	var mu sync.Mutex
	w.opt = Options{
		Hostname: "gw.example.com",
		DCIDs: func() mail.DCID {
			mu.Lock()
			defer mu.Unlock()
			dcid++
			return dcid
		},
		Log: logs.NewMail(w.log, nil), Stats: new(stats.Set), Resolver: &dns.Fake{},
		Shuffle:  func(int, func(i, j int)) {},
		Timeouts: smtp.ClientTimeouts{Greeting: patience, Command: patience, TLS: patience, DataStart: patience, DataBlock: patience, DataDone: patience},
	}
	w.to = func(r queue.Recipient) queue.Dest { return queue.Dest{Name: r.Address.Domain} }
	w.set = func(queue.Dest) queue.Settings {
		return queue.Settings{FirstRetry: time.Hour, LongestWait: time.Hour, Concurrency: 1, Idle: time.Millisecond}
	}
	return w
}

// patience is how long the client of a test waits for a silent peer.
const patience = 3 * time.Second

// routes sends a domain to an address.
func (w *world) routes(format string, args ...any) {
	w.t.Helper()
	r, err := ParseRoutes(fmt.Sprintf(format, args...))
	if err != nil {
		w.t.Fatal(err)
	}
	w.opt.Routes = func() *Routes { return r }
}

func (w *world) start() {
	w.t.Helper()
	couriers, err := New(w.opt)
	if err != nil {
		w.t.Fatal(err)
	}
	w.q, err = queue.New(queue.Options{Store: w.store, Processor: router{w}, Courier: couriers.Courier, Settings: w.set, Log: w.opt.Log, Stats: w.opt.Stats})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.q.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errs.Is(err, errs.Closed) {
			w.t.Errorf("queue: %v", err)
		}
	})
}

// add puts a message into the queue and gives its MID.
func (w *world) add(content string, change func(*queue.Item), to ...string) mail.MID {
	w.t.Helper()
	w.mid++
	hash := mail.Hash(sha256.Sum256([]byte(content)))
	it := &queue.Item{MID: w.mid, Key: mail.NewKey("ABCD1234", w.mid, hash), State: queue.Work, Size: int64(len(content)), Hash: hash,
		From: mail.Address{Local: "a", Domain: "sender.example"}, Accepted: time.Now(),
		Origin: mail.Origin{RemoteIP: netip.MustParseAddr("192.0.2.1"), RemoteHost: "unknown", Helo: "h.example", Listener: "In", SenderGroup: "ALL"}}
	for i, s := range to {
		a, err := mail.ParseAddress(s)
		if err != nil {
			w.t.Fatal(err)
		}
		it.Recipients = append(it.Recipients, queue.Recipient{RID: mail.RID(i), Address: a})
	}
	if change != nil {
		change(it)
	}
	w.store.put(it, content)
	w.q.Add(it)
	return w.mid
}

// settled waits until no recipient of a message is pending or under way, and
// gives the message as it stands then.
func (w *world) settled(mid mail.MID) *queue.Item {
	w.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		it, changed := w.store.look(mid)
		if it != nil && it.Recipients != nil && !unsettled(it) {
			return it
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("MID %d is not settled; the log:\n%s", mid, w.log)
		}
	}
}

func unsettled(it *queue.Item) bool {
	for _, r := range it.Recipients {
		if r.State == queue.Pending || r.State == queue.Active {
			return true
		}
	}
	return false
}

// states gives the states of the recipients in order.
func states(it *queue.Item) string {
	var out []string
	for _, r := range it.Recipients {
		out = append(out, r.State.String())
	}
	return strings.Join(out, " ")
}

// logged waits for a line with this text.
func (w *world) logged(want string) {
	w.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		all, changed := w.log.look()
		if strings.Contains(all, want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("the log has no %q:\n%s", want, all)
		}
	}
}

type router struct{ w *world }

func (r router) Process(context.Context, *queue.Item, queue.Opener) (queue.Routing, error) {
	return queue.Routing{Dest: r.w.to}, nil
}

// memStore is a queue.Store that tells when something changed.
type memStore struct {
	mu       sync.Mutex
	items    map[mail.MID]*queue.Item
	content  map[mail.MID]string
	receipts []queue.Receipt
	changed  chan struct{}
	broken   error // what reading content gives at its middle
}

func newMemStore() *memStore {
	return &memStore{items: map[mail.MID]*queue.Item{}, content: map[mail.MID]string{}, changed: make(chan struct{})}
}

func (s *memStore) put(it *queue.Item, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items[it.MID], s.content[it.MID] = it.Clone(), content
}

func (s *memStore) look(mid mail.MID) (*queue.Item, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[mid], s.changed
}

func (s *memStore) Scan(context.Context, func(*queue.Item) error) error { return nil }

func (s *memStore) Load(_ context.Context, mid mail.MID) (*queue.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[mid]
	if it == nil {
		return nil, errs.New(errs.NotFound, "no MID %d", mid)
	}
	return it.Clone(), nil
}

func (s *memStore) Open(_ context.Context, mid mail.MID) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.content[mid]
	if s.broken != nil {
		return io.NopCloser(io.MultiReader(strings.NewReader(c[:len(c)/2]), failing{s.broken})), nil
	}
	return io.NopCloser(bytes.NewReader([]byte(c))), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func (s *memStore) Apply(_ context.Context, u queue.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range append(u.Save, u.Final...) {
		s.items[it.MID] = it.Clone()
	}
	s.receipts = append(s.receipts, u.Receipts...)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *memStore) SetAside(_ context.Context, mid mail.MID, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items[mid] = &queue.Item{MID: mid, State: queue.Corrupt, Recipients: []queue.Recipient{{State: queue.Deferred, Reply: cause.Error()}}}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// fixedPeer is a Locator with one answer after the other.
type fixedPeer struct {
	mu      sync.Mutex
	answers []Endpoint
	forgot  int
	err     error
}

func (p *fixedPeer) Locate(context.Context, queue.Dest) (Endpoint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return Endpoint{}, p.err
	}
	return p.answers[0], nil
}

func (p *fixedPeer) Forget(queue.Dest, Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgot++
	if len(p.answers) > 1 {
		p.answers = p.answers[1:]
	}
}

// tick is for what no channel tells.
func tick() <-chan time.Time { return time.After(5 * time.Millisecond) }

func portOf(s *testlib.Sink) string { return fmt.Sprint(s.Addr.Port()) }
