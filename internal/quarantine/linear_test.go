package quarantine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/store"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/proof"
)

// linearRounds sets how many histories are checked in memory; without it some
// ten thousand are.
const linearRounds = "LAZARET_LINEAR_ROUNDS"

// call is one thing that one party does to the message.
type call uint8

const (
	release call = iota // by hand
	remove              // by hand
	undo
	expire // the exit time has come: released by the clock, for good
	look
	calls
)

var callNames = [calls]string{"release", "delete", "undo", "expire", "look"}

// model is a message as one operator after the other would see it: each call
// either changes it (1) or comes too late (0); a look gives its state.
var model = porcupine.Model{
	Init: func() any { return "held" },
	Step: func(state, in, out any) (bool, any) {
		s, o := state.(string), out.(string)
		next := s
		switch c := in.(call); {
		case c == look:
			return o == s, s
		case c == release && s == "held":
			next = "leaving"
		case c == remove && s == "held":
			next = "binned"
		case c == expire && s == "held":
			next = "releasing"
		case c == undo && (s == "leaving" || s == "binned"):
			next = "held"
		}
		if next != s {
			return o == "1", next
		}
		return o == "0", s
	},
	DescribeOperation: func(in, out any) string { return callNames[in.(call)] + " " + out.(string) },
}

// history lets some parties work on one message at the same instant, each doing
// a few things one after the other at one of the services, and gives what they
// saw.
func history(t *testing.T, at []*quarantine.Service, mid mail.MID, r *rand.Rand) []porcupine.Operation {
	const parties = 4
	var clock atomic.Int64
	var mu sync.Mutex
	var all []porcupine.Operation
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for id := range parties {
		does := make([]call, 2+r.IntN(2))
		for i := range does {
			does[i] = call(r.IntN(int(calls)))
		}
		wg.Go(func() {
			<-begin
			for _, c := range does {
				from := clock.Add(1)
				out, err := perform(at[id%len(at)], mid, c, id)
				to := clock.Add(1)
				if err != nil {
					t.Errorf("%s: %v", callNames[c], err)
				}
				mu.Lock()
				all = append(all, porcupine.Operation{ClientId: id, Input: c, Call: from, Output: out, Return: to})
				mu.Unlock()
			}
		})
	}
	close(begin)
	wg.Wait()
	return all
}

func perform(s *quarantine.Service, mid mail.MID, c call, id int) (string, error) {
	p := admin
	if id%2 == 1 {
		p = other
	}
	var out quarantine.Outcome
	var err error
	switch mids := []mail.MID{mid}; c {
	case release:
		out, err = s.Release(ctx, p, mids, "")
	case remove:
		out, err = s.Delete(ctx, p, mids, "")
	case undo:
		out, err = s.Undo(ctx, p, mids)
	case expire:
		out.Count, err = s.ExpireDue(ctx)
	case look:
		m, err := s.Show(ctx, p, mid)
		if err != nil {
			return "", err
		}
		return m.State, nil
	}
	return strconv.Itoa(out.Count), err
}

// check asks the checker whether the calls could have been made one after the
// other, each at some moment between its beginning and its end.
func check(t *testing.T, round int, ops []porcupine.Operation) {
	t.Helper()
	if porcupine.CheckOperations(model, ops) {
		return
	}
	text := ""
	for _, o := range ops {
		text += fmt.Sprintf("\n  %d: [%d, %d] %s", o.ClientId, o.Call, o.Return, model.DescribeOperation(o.Input, o.Output))
	}
	t.Fatalf("history %d has no order:%s", round, text)
}

// hasty is a store in memory that holds one message and lets others in between
// any two of its steps.
type hasty struct {
	nothing
	mu sync.Mutex
	r  *quarantine.Record
	n  quarantine.DecisionID
	// broken makes it lose the comparison now and then, to prove the checker.
	broken bool
}

// nothing is what the histories do not ask for.
type nothing interface {
	quarantine.Store
	quarantine.Calendar
	quarantine.Pool
	quarantine.Outlook
	quarantine.Insides
}

func pause() {
	for range rand.IntN(4) {
		runtime.Gosched()
	}
}

func (h *hasty) Load(context.Context, []mail.MID) ([]*quarantine.Record, error) {
	pause()
	h.mu.Lock()
	defer h.mu.Unlock()
	return []*quarantine.Record{h.r}, nil
}

func (h *hasty) Change(_ context.Context, list []quarantine.Change) ([]bool, error) {
	pause()
	h.mu.Lock()
	defer h.mu.Unlock()
	if list[0].Before.Version != h.r.Version && !h.broken {
		return []bool{false}, nil
	}
	next := *list[0].After
	next.Version = h.r.Version + 1
	h.r = &next
	return []bool{true}, nil
}

func (h *hasty) Decide(context.Context, quarantine.Decision) (quarantine.DecisionID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	return h.n, nil
}

func (h *hasty) Due(context.Context, time.Time, int) ([]mail.MID, error) {
	pause()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.r.State != quarantine.Held {
		return nil, nil
	}
	return []mail.MID{h.r.MID}, nil
}

func (h *hasty) LastSeen(context.Context) (time.Time, error)                  { return time.Time{}, nil }
func (h *hasty) Seen(context.Context, time.Time) error                        { return nil }
func (h *hasty) Turn(context.Context, string, time.Duration) (bool, error)    { return true, nil }
func (h *hasty) Retire(context.Context, string, quarantine.Action) error      { return nil }
func (h *hasty) DueBy(context.Context, time.Time) ([]quarantine.Count, error) { return nil, nil }

// takenBack is how long decisions by hand can be taken back in the histories.
var takenBack = quarantine.Rules{UndoRelease: time.Hour, DeleteRest: time.Hour}

func letGo() []quarantine.Settings {
	set := quarantine.Defaults()
	set[0].DefaultAction = quarantine.Release // Policy
	return set
}

func hastyService(t *testing.T, w *lines, broken bool) (*quarantine.Service, mail.MID) {
	now := time.Now().UTC()
	h := &hasty{broken: broken, r: &quarantine.Record{Version: 1, Received: now, State: quarantine.Held, Deposit: quarantine.Deposit{MID: 7,
		Key: mail.NewKey(serial, 7, mail.Hash{}), Envelope: mail.Envelope{To: []mail.Address{{Local: "b", Domain: "example.org"}}}},
		Memberships: []quarantine.Membership{{Quarantine: "Policy", Entered: now, Exit: now.Add(-time.Minute)}}}}
	s, err := quarantine.New(quarantine.Options{Store: h, Contents: noContents{}, Sender: &sent{}, Log: w, Audit: w, Settings: letGo(), Rules: takenBack})
	if err != nil {
		t.Fatal(err)
	}
	return s, 7
}

type noContents struct{ quarantine.Contents }

// Two operators, undo and the clock hit one message at the same instant: what
// each of them is told is what it would have been told had they come one after
// the other (register G2).
func TestLinear(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 5_000
	}
	if n, err := strconv.Atoi(os.Getenv(linearRounds)); err == nil {
		rounds = n
	}
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for i := range rounds {
		s, mid := hastyService(t, new(lines), false)
		check(t, i, history(t, []*quarantine.Service{s}, mid, r))
	}
	proof.Line(t, "quarantine/linear", rounds)
}

// The checker notices a store that does not compare versions.
func TestLinearChecker(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		s, mid := hastyService(t, new(lines), true)
		if !porcupine.CheckOperations(model, history(t, []*quarantine.Service{s}, mid, r)) {
			return
		}
	}
	t.Error("a store without compare-and-set passed")
}

// The same on real databases, on PostgreSQL at two managers.
func TestLinearStores(t *testing.T) {
	now := time.Now().UTC()
	open := func(t *testing.T, o store.Options) (*quarantine.Service, *store.Store) {
		o.Contents, o.Clock, o.OnFault = oneContent{}, func() time.Time { return now }, func(err error) { t.Error(err) }
		db, err := store.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		s, err := quarantine.New(quarantine.Options{Store: db, Contents: oneContent{}, Sender: &sent{}, Log: new(lines), Audit: new(lines),
			Settings: letGo(), Rules: takenBack, Clock: o.Clock})
		if err != nil {
			t.Fatal(err)
		}
		return s, db
	}
	t.Run("SQLite", func(t *testing.T) {
		s, db := open(t, store.Options{Path: filepath.Join(t.TempDir(), "q.db")})
		linearOn(t, db, []*quarantine.Service{s}, now)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		p, err := testlib.StartPostgres()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.End(); err != nil {
				t.Error(err)
			}
		})
		dsn := p.Database(t)
		a, db := open(t, store.Options{DSN: dsn, Name: "M1", Place: "memory", AnyClock: true})
		b, _ := open(t, store.Options{DSN: dsn, Name: "M2", Place: "memory", AnyClock: true})
		linearOn(t, db, []*quarantine.Service{a, b}, now)
	})
}

func linearOn(t *testing.T, db *store.Store, at []*quarantine.Service, now time.Time) {
	rounds := proof.Rounds(150)
	r := rand.New(rand.NewPCG(3, uint64(now.UnixNano())))
	for i := range rounds {
		hash := mail.Hash{byte(i), byte(i >> 8), 1}
		rec := &quarantine.Record{Content: quarantine.ContentID(fmt.Sprint("c", i)), Version: 1, Received: now, Changed: now,
			Deposit: quarantine.Deposit{MID: db.NextMID(), Key: mail.NewKey(serial, mail.MID(i+1), hash), Gateway: serial, GatewayMID: mail.MID(i + 1), Hash: hash,
				Size: 1, Envelope: mail.Envelope{To: []mail.Address{{Local: "b", Domain: "example.org"}}}},
			Memberships: []quarantine.Membership{{Quarantine: "Policy", Entered: now.Add(-time.Hour), Exit: now.Add(-time.Minute)}}}
		mid, existing, err := db.Add(ctx, rec)
		if err != nil || existing {
			t.Fatal(existing, err)
		}
		check(t, i, history(t, at, mid, r))
		if _, err := at[0].Delete(ctx, admin, []mail.MID{mid}, ""); err != nil { // not due in the next history
			t.Fatal(err)
		}
	}
	proof.Line(t, "quarantine/"+t.Name(), rounds)
}

// oneContent has no content, and removes it gladly.
type oneContent struct{ quarantine.Contents }

func (oneContent) Delete(context.Context, quarantine.ContentID) error { return nil }
