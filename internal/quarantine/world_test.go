package quarantine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"lazaret/internal/blob"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service on real stores, with a clock of its own.
type world struct {
	t     *testing.T
	s     *quarantine.Service
	db    *store.Store
	blobs *blob.Store
	lines lines
	sent  sent

	mu   sync.Mutex
	now  time.Time
	mono time.Duration
	n    int
}

// lines is mail_logs and the audit log of a test.
type lines struct {
	mu    sync.Mutex
	log   []string
	audit []string
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, fmt.Sprintf(format, args...))
}

func (l *lines) Mapped(m mail.MID, gw string, g mail.MID) { l.add("MID %d (%s %d)", m, gw, g) }
func (l *lines) Quarantined(m mail.MID, q, r string)      { l.add("MID %d to %q (%s)", m, q, r) }
func (l *lines) ReleasedFrom(m mail.MID, q, c string, t int64, stripped bool) {
	l.add("MID %d released%s from %q (%s) t=%d", m, withoutAttachments(stripped), q, c, t)
}
func (l *lines) ReleasedFromAll(m mail.MID, stripped bool) {
	l.add("MID %d released%s from all", m, withoutAttachments(stripped))
}
func withoutAttachments(stripped bool) string {
	if stripped {
		return " (attachments stripped)"
	}
	return ""
}
func (l *lines) DeletedFrom(m mail.MID, q, c string, t int64) {
	l.add("MID %d deleted from %q (%s) t=%d", m, q, c, t)
}
func (l *lines) DeletedFromAll(m mail.MID)         { l.add("MID %d deleted from all", m) }
func (l *lines) ScannedAgain(m mail.MID, f string) { l.add("MID %d found %s", m, f) }
func (l *lines) Restored(m mail.MID, q string)     { l.add("MID %d back to %q", m, q) }
func (l *lines) NewReason(m mail.MID, q, r string) { l.add("MID %d in %q new (%s)", m, q, r) }
func (l *lines) Moved(m mail.MID, a, b string)     { l.add("MID %d moved from %q to %q", m, a, b) }
func (l *lines) Decided(p mail.Principal, m mail.MID, what, q string) {
	l.add("%s: %s MID %d in %q", p.Name, what, m, q)
}
func (l *lines) ReleaseFate(m mail.MID, rid mail.RID, gw string, there mail.MID, fate, host, code, reply string) {
	l.add("MID %d RID %d at %s MID %d: %s by %s %s %q", m, rid, gw, there, fate, host, code, reply)
}
func (l *lines) ReleaseRescanned(m mail.MID, rid mail.RID, gw string, there mail.MID, found string) {
	l.add("MID %d RID %d at %s MID %d rescanned: %s", m, rid, gw, there, found)
}
func (l *lines) ReleaseEnded(m mail.MID, well, delivered bool) {
	l.add("MID %d ended: %v %v", m, well, delivered)
}
func (l *lines) Fault(c, text string) { l.add("fault %s: %s", c, text) }
func (l *lines) Record(p mail.Principal, what, result string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.audit = append(l.audit, p.Name+": "+what+": "+result)
}

// take gives the lines written since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := strings.Join(l.log, "\n")
	l.log = nil
	return out
}

type sent struct {
	mu   sync.Mutex
	mids []mail.MID
}

func (s *sent) Enqueue(mid mail.MID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mids = append(s.mids, mid)
}

func (s *sent) count(mid mail.MID) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mids {
		if m == mid {
			n++
		}
	}
	return n
}

const serial = "A1B2C3D4E5"

var (
	admin = mail.Principal{Name: "alice", Role: mail.Administrator, From: "192.0.2.7", Via: "ssh"}
	other = mail.Principal{Name: "bob", Role: mail.Administrator, From: "192.0.2.8", Via: "ssh"}
	guest = mail.Principal{Name: "gina", Role: mail.Guest, From: "192.0.2.9", Via: "ssh"}
	ctx   = context.Background()
)

// disk is a memory file system with room.
type disk struct{ vfs.FS }

func (disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	var err error
	w.blobs, err = blob.Open(blob.Options{Dir: "blob", FS: disk{vfs.NewMem()}, Key: make([]byte, blob.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	w.db, err = store.Open(ctx, store.Options{Path: filepath.Join(t.TempDir(), "quarantine.db"), Contents: w.blobs, Clock: w.clock,
		OnFault: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	set := quarantine.Defaults()
	set[0].Users = []string{"gina"} // Policy
	w.s, err = quarantine.New(quarantine.Options{Store: w.db, Contents: w.blobs, Sender: &w.sent, Log: &w.lines, Audit: &w.lines,
		Settings: set, Clock: w.clock, Elapsed: w.elapsed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
		if err := w.blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// withStore puts another store under the service.
func (w *world) withStore(s nothing) {
	w.t.Helper()
	var err error
	w.s, err = quarantine.New(quarantine.Options{Store: s, Contents: w.blobs, Sender: &w.sent, Log: &w.lines, Audit: &w.lines,
		Settings: quarantine.Defaults(), Clock: w.clock, Elapsed: w.elapsed})
	if err != nil {
		w.t.Fatal(err)
	}
}

func hashOf(content string) mail.Hash { return sha256.Sum256([]byte(content)) }

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass; jump only moves the clock.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.mono = w.now.Add(d), w.mono+d
}

func (w *world) jump(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) elapsed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mono
}

// deposit makes a deposit whose content is its subject.
func (w *world) deposit(subject string, quarantines ...string) (quarantine.Deposit, []byte) {
	return w.depositBody(subject, "body\r\n", quarantines...)
}

func (w *world) depositBody(subject, text string, quarantines ...string) (quarantine.Deposit, []byte) {
	w.mu.Lock()
	w.n++
	n := w.n
	w.mu.Unlock()
	body := []byte("Subject: " + subject + "\r\n\r\n" + text)
	hash := mail.Hash(sha256.Sum256(body))
	d := quarantine.Deposit{MID: w.db.NextMID(), Key: mail.NewKey(serial, mail.MID(1000+n), hash), Gateway: serial, GatewayName: "gw1.example.com",
		GatewayMID: mail.MID(1000 + n), Accepted: w.clock(), Size: int64(len(body)), Hash: hash, Subject: subject,
		Envelope: mail.Envelope{From: mail.Address{Local: "a", Domain: "example.net"},
			To: []mail.Address{{Local: "b", Domain: "example.org"}, {Local: "c", Domain: "example.org"}}}}
	for _, q := range quarantines {
		d.Placements = append(d.Placements, mail.Placement{Quarantine: q, Reason: "message filter:" + strings.ToLower(q)})
	}
	return d, body
}

func (w *world) put(subject string, quarantines ...string) mail.MID {
	w.t.Helper()
	d, body := w.deposit(subject, quarantines...)
	mid, existing, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil || existing {
		w.t.Fatalf("ingest: existing %v, %v", existing, err)
	}
	return mid
}

// placed puts a message as its placements say.
func (w *world) placed(subject string, to ...mail.Placement) mail.MID {
	w.t.Helper()
	d, body := w.deposit(subject)
	d.Placements = to
	mid, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return mid
}

func (w *world) state(mid mail.MID) string {
	w.t.Helper()
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		w.t.Fatal(err)
	}
	return m.State
}

func (w *world) search(p mail.Principal, q quarantine.Query) (out []mail.MID) {
	w.t.Helper()
	for m, err := range w.s.Search(ctx, p, q) {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, m.MID)
	}
	return out
}

func (w *world) content(mid mail.MID) (string, error) {
	r, err := w.s.Content(ctx, admin, mid)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func (w *world) act(a quarantine.Action, p mail.Principal, q string, mids ...mail.MID) quarantine.Outcome {
	w.t.Helper()
	do := w.s.Release
	if a == quarantine.Delete {
		do = w.s.Delete
	}
	out, err := do(ctx, p, mids, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func has(list []string, piece string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, piece) })
}
