package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/testlib/litedisk"
	"lazaret/internal/testlib/proof"
)

// heavy is content in memory that says it is larger than it is, so that few
// messages fill a pool. A removal is durable at once: nothing is more severe
// with who removes too early.
type heavy struct {
	memContents
}

const heavySize = 8 << 20

func (c *heavy) Put(ctx context.Context, r io.Reader) (quarantine.ContentID, int64, mail.Hash, error) {
	id, _, hash, err := c.memContents.Put(ctx, r)
	return id, heavySize, hash, err
}

func (c *heavy) copy() map[quarantine.ContentID][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.m)
}

// known is what is known of one message: the states in which a crash may show
// it, and whether it may be missing.
type known struct {
	mid     mail.MID
	hash    mail.Hash
	states  uint
	missing bool
}

func in(states ...quarantine.State) (set uint) {
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// sqlFacts is what the outside world knows at one moment.
type sqlFacts struct {
	messages map[mail.Key]known
	contents map[quarantine.ContentID][]byte
}

// sqlLife is one life of a manager's records.
type sqlLife struct {
	t        *testing.T
	s        *Store
	svc      *quarantine.Service
	contents *heavy
	rng      *rand.Rand
	learn    func(func())
	know     map[mail.Key]known
	bodies   int
	now      atomic.Int64 // after start
	did      map[string]int
	fails    bool // errors are the disk's
	dead     atomic.Bool
	seq      uint64
}

func (l *sqlLife) clock() time.Time { return start.Add(time.Duration(l.now.Load())) }

func (l *sqlLife) open(path, vfs string) {
	l.t.Helper()
	fault := func(err error) {
		if !l.fails {
			l.t.Error(err)
		}
	}
	var err error
	if l.s, err = Open(ctx, Options{Path: path, Contents: l.contents, Clock: l.clock, OnFault: fault, vfs: vfs,
		OnFatal: func(err error) { l.dead.Store(true); fault(err) }}); err != nil {
		l.t.Fatal(err)
	}
	settings := quarantine.Defaults()
	for i := range settings {
		settings[i].Retention = time.Hour
	}
	l.svc, err = quarantine.New(quarantine.Options{Store: l.s, Contents: l.contents, Sender: nobody{}, Log: nobody{}, Audit: nobody{},
		Settings: settings, Clock: l.clock, Elapsed: func() time.Duration { return time.Duration(l.now.Load()) },
		Rules: quarantine.Rules{UndoRelease: time.Minute, DeleteRest: time.Minute, Pool: quarantine.MinPool, KeepTaken: time.Hour}})
	if err != nil {
		l.t.Fatal(err)
	}
}

// pass lets time go by.
func (l *sqlLife) pass(d time.Duration) { l.now.Add(int64(d)) }

// check reports whether an operation was done.
func (l *sqlLife) check(err error) bool {
	l.t.Helper()
	if err != nil && !l.fails {
		l.t.Fatal(err)
	}
	return err == nil
}

// may notes that messages in one of some states may be in others from now on.
func (l *sqlLife) may(from, to uint) {
	l.learn(func() {
		for key, k := range l.know {
			if k.states&from != 0 {
				k.states |= to
				l.know[key] = k
			}
		}
	})
}

// settled takes up the states of all messages behind a durable change: none of
// them may be another one any more.
func (l *sqlLife) settled() {
	mids := make([]mail.MID, 0, len(l.know))
	for _, k := range l.know {
		if !k.missing {
			mids = append(mids, k.mid)
		}
	}
	list, err := l.s.Load(ctx, mids)
	if err != nil || len(list) != len(mids) {
		l.t.Fatalf("%d of %d, %v", len(list), len(mids), err)
	}
	l.learn(func() {
		for _, r := range list {
			k := l.know[r.Key]
			k.states = in(r.State)
			l.know[r.Key] = k
		}
	})
}

// deposit brings a message; every fourth has the content of another one.
func (l *sqlLife) deposit(quarantines ...string) {
	l.bodies++
	n := l.bodies
	body := []byte(fmt.Sprintf("Subject: x\r\n\r\n%d\r\n", n-n%4/3))
	hash := mail.Hash(sha256.Sum256(body))
	d := quarantine.Deposit{MID: l.s.NextMID(), Key: mail.NewKey(serial, mail.MID(n), hash), Gateway: serial, GatewayMID: mail.MID(n),
		Size: heavySize, Hash: hash, Envelope: mail.Envelope{To: []mail.Address{{Local: "b", Domain: "example.org"}}}}
	for _, q := range quarantines {
		d.Placements = append(d.Placements, mail.Placement{Quarantine: q, Reason: "x"})
	}
	l.learn(func() { l.know[d.Key] = known{d.MID, hash, in(quarantine.Held), true} })
	if _, existing, err := l.svc.Ingest(ctx, d, bytes.NewReader(body)); l.check(err) {
		if existing {
			l.t.Fatal("a new message is there already")
		}
		l.did["deposit"]++
		l.learn(func() { l.know[d.Key] = known{d.MID, hash, in(quarantine.Held), false} })
	}
}

// some gives messages that are surely in a state.
func (l *sqlLife) some(state quarantine.State, most int) (mids []mail.MID) {
	for _, key := range slices.Sorted(maps.Keys(l.know)) {
		if k := l.know[key]; k.states == in(state) && !k.missing && len(mids) < most {
			mids = append(mids, k.mid)
		}
	}
	return mids
}

// decide releases or deletes by hand.
func (l *sqlLife) decide(what string, to quarantine.State, do func(context.Context, mail.Principal, []mail.MID, string) (quarantine.Outcome, error)) {
	mids := l.some(quarantine.Held, 1+l.rng.IntN(3))
	if len(mids) == 0 {
		return
	}
	l.may(in(quarantine.Held), in(to))
	out, err := do(ctx, mail.System(), mids, "")
	if l.check(err) {
		l.did[what] += out.Count
		l.settled()
	}
}

// onTime does what the clock does.
func (l *sqlLife) onTime(what string, from, to uint, do func(context.Context) (int, error)) {
	l.may(from, to)
	n, err := do(ctx)
	if l.check(err) {
		l.did[what] += n
		l.settled()
	}
}

// queue does what the queue does with each release that is live: hands it to its
// gateway, loses it there, or has it deleted by an operator. Completions are
// written as the queue writes them, not durably, and synced later or never.
func (l *sqlLife) queue() {
	q := l.s.Releases()
	var items []*queue.Item
	if !l.check(q.Scan(ctx, func(it *queue.Item) error { items = append(items, it); return nil })) {
		return
	}
	for _, it := range items {
		state := queue.Delivered
		switch l.rng.IntN(4) {
		case 0:
			continue
		case 1:
			l.prove(it) // the gateway is faster with its report than with its answer
		case 2:
			state = queue.Deleted
		}
		for i := range it.Recipients {
			it.Recipients[i].State = state
		}
		u := queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}}
		if state == queue.Delivered {
			u.Receipts = []queue.Receipt{{Item: it, Remote: "77", Reply: "250 ok", At: l.clock()}}
		}
		l.learn(func() {
			k := l.know[it.Key]
			k.states |= in(quarantine.Sent, quarantine.Gone, quarantine.Removed)
			l.know[it.Key] = k
		})
		if !l.check(q.Apply(ctx, u)) {
			return
		}
		l.did["taken"]++
	}
	if l.rng.IntN(3) > 0 && l.check(q.Apply(ctx, queue.Update{Durable: true})) {
		l.settled()
	}
}

// prove brings what a gateway says of a release.
func (l *sqlLife) prove(it *queue.Item) {
	l.seq++
	rep := quarantine.Report{MID: it.MID, Action: it.Release.Action, Recipient: it.Recipients[0].Address, State: quarantine.Accepted,
		Proof: quarantine.Proof{Seq: l.seq, Host: "mx.example.org", Code: 250, Reply: "ok", At: l.clock()}}
	if n, err := l.svc.Prove(ctx, serial, []quarantine.Report{rep}); l.check(err) {
		l.did["proof"] += n
	}
}

// live makes n operations at random.
func (l *sqlLife) live(n int) {
	for range n {
		if l.dead.Load() {
			return
		}
		switch k := l.rng.IntN(12); {
		case k < 3:
			l.deposit([]string{"Policy", "Outbreak"}[l.rng.IntN(2)])
		case k == 3:
			l.deposit("Policy", "Outbreak")
		case k == 4:
			l.decide("release", quarantine.Leaving, l.svc.Release)
		case k == 5:
			l.decide("delete", quarantine.Binned, l.svc.Delete)
		case k == 6:
			l.pass(2 * time.Minute)
			l.onTime("ripe", in(quarantine.Leaving, quarantine.Binned), in(quarantine.Releasing, quarantine.Removed), l.svc.Ripen)
		case k == 7 && l.rng.IntN(2) == 0:
			l.pass(61 * time.Minute)
			l.onTime("expire", in(quarantine.Held), in(quarantine.Leaving, quarantine.Binned, quarantine.Releasing, quarantine.Removed), l.svc.ExpireDue)
		case k == 7:
			l.onTime("let go", in(quarantine.Sent), in(quarantine.Gone), l.svc.LetGo)
		case k == 8:
			l.onTime("overflow", ^uint(0), in(quarantine.Leaving, quarantine.Binned, quarantine.Releasing, quarantine.Removed, quarantine.Gone), l.svc.MakeRoom)
		default:
			l.queue()
		}
	}
}

// recovered opens what a crash left, twice, and holds it against what is known.
func (k sqlFacts) recovered(dir, vfs string) error {
	c := &heavy{memContents: memContents{m: maps.Clone(k.contents)}}
	var first string
	for n := range 2 {
		s, err := Open(ctx, Options{Path: filepath.Join(dir, "q.db"), Contents: c, vfs: vfs, Readers: 1, Clock: func() time.Time { return start }})
		if err != nil {
			return err
		}
		var text string
		if err = k.inDatabase(s, c); err == nil {
			text, err = dump(s.read)
		}
		if e := s.Close(); err == nil {
			err = e
		}
		if err != nil {
			return fmt.Errorf("recovery %d: %w", n+1, err)
		}
		if n == 0 {
			first = text
		} else if text != first {
			return fmt.Errorf("recovery twice is not recovery once:\n%s\nand then\n%s", first, text)
		}
	}
	return nil
}

// inDatabase holds an open database against what is known.
func (k sqlFacts) inDatabase(s *Store, c *heavy) error {
	var sound string
	if err := s.read.QueryRow("PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		return fmt.Errorf("integrity_check: %s, %w", sound, err)
	}
	found, live, refs, held, released := 0, int64(0), map[mail.Hash]int{}, map[string]int64{}, map[mail.MID]bool{}
	next := s.NextMID()
	for key, m := range k.messages {
		list, err := s.Load(ctx, []mail.MID{m.mid})
		switch {
		case err != nil:
			return err
		case len(list) == 0 && m.missing:
			continue
		case len(list) == 0:
			return fmt.Errorf("MID %s was acknowledged and is gone", m.mid)
		}
		r := list[0]
		found++
		if r.Key != key || r.Hash != m.hash || r.Size != heavySize || len(r.Envelope.To) != 1 || in(r.State)&m.states == 0 {
			return fmt.Errorf("MID %s is %s, known as %b: %+v", m.mid, r.State, m.states, r)
		}
		if r.MID >= next {
			return fmt.Errorf("number %s is given again behind %s", next, r.MID)
		}
		released[r.MID] = r.State == quarantine.Releasing
		if r.State.Final() {
			continue
		}
		live++
		refs[r.Hash]++
		if body, ok := c.m[r.Content]; !ok || sha256.Sum256(body) != r.Hash {
			return fmt.Errorf("MID %s is %s and has no content", m.mid, r.State)
		}
		for i := range r.Memberships {
			if r.Memberships[i].State == quarantine.In {
				held[r.Memberships[i].Quarantine]++
			}
		}
	}
	return k.counted(s, found, live, refs, held, released)
}

// counted looks for what is nobody's, and at the counters.
func (k sqlFacts) counted(s *Store, found int, live int64, refs map[mail.Hash]int, held map[string]int64, released map[mail.MID]bool) error {
	var rows, content int
	if err := s.read.QueryRow("SELECT (SELECT COUNT(*) FROM message), (SELECT COUNT(*) FROM content)").Scan(&rows, &content); err != nil {
		return err
	}
	if rows != found || content != len(refs) {
		return fmt.Errorf("%d records and %d contents; %d and %d are known", rows, content, found, len(refs))
	}
	for hash, n := range refs {
		var got int
		if err := s.read.QueryRow("SELECT refs FROM content WHERE hash = ?", hash[:]).Scan(&got); err != nil || got != n {
			return fmt.Errorf("a content has %d references, not %d: %w", got, n, err)
		}
	}
	if u, err := s.Usage(ctx); err != nil || u.All.Messages != live || u.All.Bytes != live*heavySize {
		return fmt.Errorf("the pool counts %+v, there are %d: %w", u.All, live, err)
	}
	counts, err := s.Counts(ctx)
	if err != nil {
		return err
	}
	for _, c := range counts {
		if c.Messages != held[c.Quarantine] {
			return fmt.Errorf("%s counts %d, there are %d", c.Quarantine, c.Messages, held[c.Quarantine])
		}
	}
	once := map[mail.MID]bool{}
	err = s.Releases().Scan(ctx, func(it *queue.Item) error {
		if !released[it.MID] || once[it.MID] {
			return fmt.Errorf("MID %s is in the queue, and not being released, or twice", it.MID)
		}
		once[it.MID] = true
		return nil
	})
	for mid, is := range released {
		if is && !once[mid] && err == nil {
			err = fmt.Errorf("MID %s is to be released, and is not in the queue", mid)
		}
	}
	return err
}

// dump gives all that recovery must not change. The index is written behind.
func dump(db *sql.DB) (string, error) {
	var b strings.Builder
	for _, table := range []string{"message", "membership", "content", "intent", "release_recipient", "tally", "arrival", "known"} {
		rows, err := db.Query("SELECT * FROM " + table)
		if err != nil {
			return "", err
		}
		columns, err := rows.Columns()
		if err != nil {
			return "", err
		}
		for rows.Next() {
			row := make([]any, len(columns))
			at := make([]any, len(columns))
			for i := range row {
				at[i] = &row[i]
			}
			if err := rows.Scan(at...); err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%s %v\n", table, row)
		}
		if err := rows.Err(); err != nil {
			return "", err
		}
		rows.Close()
	}
	return b.String(), nil
}

func (l *sqlLife) facts() sqlFacts {
	return sqlFacts{maps.Clone(l.know), l.contents.copy()}
}

func newSQLLife(t *testing.T, seed uint64, learn func(func())) *sqlLife {
	return &sqlLife{t: t, contents: &heavy{}, rng: rand.New(rand.NewPCG(seed, 7)), learn: learn, know: map[mail.Key]known{}, did: map[string]int{}}
}

// F4 for the records of a manager: a crash before every operation of SQLite's
// files, with 0, 30 and 70 % of what was not synced surviving, while messages
// come in, are released and deleted by hand, expire, make room, leave by the
// queue and are proven. What was acknowledged is there, in a state that it may
// have, with its content; what was removed for good does not come back; the
// queue has each release once; counters are right; recovery twice is recovery
// once, and a share of the recoveries is crashed itself. A round is one life of
// 40 operations: LAZARET_CRASH_ROUNDS.
func TestSQLiteCrashAtEveryOperation(t *testing.T) {
	images, nested, did := 0, 0, map[string]int{}
	check := litedisk.New(t)
	check.Quick = true
	for seed := range uint64(proof.Rounds(1)) {
		c := litedisk.NewImages[sqlFacts](t, seed)
		every := 1
		if !proof.Long() {
			every = 41
		}
		if proof.Race {
			every = 211
		}
		c.Every = 89 * every // making the database has some thousand operations
		l := newSQLLife(t, seed, c.Learn)
		l.did = did
		c.Know = l.facts
		var mu sync.Mutex
		n := 0
		c.Check = func(op, dir string, know sqlFacts) error {
			mu.Lock()
			n++
			again := n%40 == int(seed%40)
			mu.Unlock()
			if again {
				k, err := crashSQLRecovery(t, seed+uint64(n), dir, check.Name(), know)
				mu.Lock()
				nested += k
				mu.Unlock()
				if err != nil {
					return err
				}
			}
			return know.recovered(dir, check.Name())
		}
		path := filepath.Join(t.TempDir(), "q.db")
		c.Start() // making the database is one of the things that may be crashed
		for range 2 {
			l.open(path, c.Disk.Name())
			c.Learn(func() { c.Every = every })
			l.live(20)
			if err := l.s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		k, err := c.End()
		if images += k; err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d images, %d of a crashed recovery; %v", images, nested, did)
	if images < 9 {
		t.Errorf("only %d images", images)
	}
	for _, op := range []string{"deposit", "release", "delete", "ripe", "expire", "overflow", "taken", "proof", "let go"} {
		if did[op] == 0 && images > 2000 {
			t.Errorf("no %s: the life is too short", op)
		}
	}
	proof.Line(t, "sqlite-crash-images", images)
	if nested > 0 {
		proof.Line(t, "sqlite-crash-in-recovery-images", nested)
	}
}

// crashSQLRecovery recovers a copy of an image and crashes before every
// operation of that.
func crashSQLRecovery(t *testing.T, seed uint64, dir, check string, know sqlFacts) (int, error) {
	c := litedisk.NewImages[sqlFacts](t, seed)
	if c.Every = 1; !proof.Long() {
		c.Every = 19
	}
	c.Know = func() sqlFacts { return know }
	c.Check = func(op, dir string, know sqlFacts) error { return know.recovered(dir, check) }
	life, err := litedisk.Copy(t.TempDir(), dir)
	if err != nil {
		return 0, err
	}
	c.Start()
	err = know.recovered(life, c.Disk.Name())
	n, e := c.End()
	if err == nil {
		err = e
	}
	return n, err
}

// A power cut may take back a commit that did not flush: the content that it
// set free stays until one that does. And one that is asked to flush does,
// though it has nothing to write.
func TestContentOutlivesFlush(t *testing.T) {
	d := litedisk.New(t)
	var syncs atomic.Int64
	d.Before = func(op, file string) error {
		if op == litedisk.Sync && strings.HasSuffix(file, "-wal") {
			syncs.Add(1)
		}
		return nil
	}
	l := newSQLLife(t, 1, func(f func()) { f() })
	l.open(filepath.Join(t.TempDir(), "q.db"), d.Name())
	defer func() {
		if err := l.s.Close(); err != nil {
			t.Error(err)
		}
	}()
	q := l.s.Releases()
	for range 3 {
		l.deposit("Policy")
		mids := l.some(quarantine.Held, 1)
		if out, err := l.svc.Release(ctx, mail.System(), mids, ""); err != nil || out.Count != 1 {
			t.Fatal(out, err)
		}
		l.pass(2 * time.Minute)
		if n, err := l.svc.Ripen(ctx); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		it, err := q.Load(ctx, mids[0])
		if err != nil {
			t.Fatal(err)
		}
		l.prove(it)
		it.Recipients[0].State = queue.Delivered
		err = q.Apply(ctx, queue.Update{Remove: mids, Final: []*queue.Item{it}, Receipts: []queue.Receipt{{Item: it, Remote: "77", At: l.clock()}}})
		if err != nil {
			t.Fatal(err)
		}
		if r := load(t, l.s, mids[0]); r.State != quarantine.Gone || l.contents.len() != 1 {
			t.Errorf("%s, with %d contents before the flush", r.State, l.contents.len())
		}
		before := syncs.Load()
		if err := q.Apply(ctx, queue.Update{Durable: true}); err != nil {
			t.Fatal(err)
		}
		if syncs.Load() == before {
			t.Error("a durable update flushed nothing")
		}
		if l.contents.len() != 0 {
			t.Errorf("%d contents are left behind the flush", l.contents.len())
		}
		l.settled()
	}
}
