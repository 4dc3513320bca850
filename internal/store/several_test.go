package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/testlib/proof"
)

// What a child process needs to be one of several managers.
const (
	managerName = "LAZARET_STORE_MANAGER"
	managerDSN  = "LAZARET_STORE_DSN"
	managerDir  = "LAZARET_STORE_SHARED_DIR"
	managerTime = "LAZARET_MANAGERS_SECONDS" // how long managers are killed; without it a few seconds
)

// dirContents keeps content in a directory that several processes share.
type dirContents struct{ dir string }

func (c dirContents) Put(_ context.Context, r io.Reader) (quarantine.ContentID, int64, mail.Hash, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", 0, mail.Hash{}, err
	}
	id := quarantine.ContentID(strconv.FormatUint(rand.Uint64(), 36))
	return id, int64(len(b)), hashOf(b), os.WriteFile(filepath.Join(c.dir, string(id)), b, 0o600)
}

func (c dirContents) Open(_ context.Context, id quarantine.ContentID) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(c.dir, string(id)))
	if err != nil {
		return nil, errs.Wrap(errs.NotFound, err, "content")
	}
	return f, nil
}

func (c dirContents) Delete(_ context.Context, id quarantine.ContentID) error {
	if err := os.Remove(filepath.Join(c.dir, string(id))); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// ledger is a gateway with its ledger in a directory: a file for each action
// key that it took, made once.
type ledger struct{ dir string }

func (g ledger) Run(ctx context.Context, _ queue.Dest, feed *queue.Feed) {
	for {
		task, ok := feed.Next(ctx)
		if !ok {
			return
		}
		r, err := task.Open()
		if err != nil {
			continue // given back with the feed
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			continue
		}
		name := filepath.Join(g.dir, strings.ReplaceAll(string(task.Item.Release.Action), "/", "_"))
		if f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
			f.Write(b)
			f.Close()
		}
		out := make([]queue.Outcome, len(task.Recipients))
		for i := range out {
			out[i] = queue.Outcome{State: queue.Delivered, Code: 250, Reply: "ok:  Message 77 accepted", Receipt: "77"}
		}
		task.Done(out)
	}
}

// managerChild is one manager: it does what lines on stdin ask for, each
// "id verb argument", and says "id result". It works until it is killed.
func managerChild(name string) {
	run := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			os.Exit(1)
		}
	}
	dir := os.Getenv(managerDir)
	c := dirContents{filepath.Join(dir, "content")}
	s, err := Open(run, Options{DSN: os.Getenv(managerDSN), Name: name, Place: dir, Contents: c, Lease: time.Second,
		OnFault: func(err error) { fmt.Fprintln(os.Stderr, name, err) }, OnFatal: fail})
	fail(err)
	q, err := queue.New(queue.Options{Store: s.Releases(), Processor: route{}, Log: logs.Discard(),
		Courier: func(queue.Dest) queue.Courier { return ledger{filepath.Join(dir, "ledger")} }})
	fail(err)
	set := quarantine.Defaults()
	set[0].DefaultAction = quarantine.Release // Policy: what expires goes to the gateway
	svc, err := quarantine.New(quarantine.Options{Store: s, Contents: c, Sender: q, Log: nobody{}, Audit: nobody{},
		Settings: set, ExpireEvery: 100 * time.Millisecond, RipenEvery: 100 * time.Millisecond})
	fail(err)
	fail(q.Recover(run))
	go func() { fail(q.Run(run)) }()
	go func() { fail(svc.Run(run)) }()
	go func() { fail(s.Releases().TakeOver(run, q.Enqueue)) }()
	var out sync.Mutex
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		f := strings.Fields(in.Text())
		go func() {
			result := managerDo(s, svc, f[1], f[2])
			out.Lock()
			defer out.Unlock()
			os.Stdout.WriteString(f[0] + " " + result + "\n")
		}()
	}
	os.Exit(0)
}

func managerDo(s *Store, svc *quarantine.Service, verb, arg string) string {
	n, _ := strconv.Atoi(arg)
	var out quarantine.Outcome
	var err error
	switch mids := []mail.MID{mail.MID(n)}; verb {
	case "ingest":
		d, body := crashDeposit(s, n)
		var mid mail.MID
		if mid, _, err = svc.Ingest(ctx, d, bytes.NewReader(body)); err == nil {
			return mid.String()
		}
	case "delete":
		out, err = svc.Delete(ctx, mail.System(), mids, "")
	case "release":
		out, err = svc.Release(ctx, mail.System(), mids, "")
	}
	if err != nil {
		return "error " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return strconv.Itoa(out.Count)
}

// child is a manager as the test sees it.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	mu   sync.Mutex
	n    int
	wait map[string]chan string
	dead bool
}

func startChild(t *testing.T, name, dsn, dir string) *child {
	c := &child{cmd: exec.Command(os.Args[0]), wait: map[string]chan string{}}
	c.cmd.Env = append(os.Environ(), managerName+"="+name, managerDSN+"="+dsn, managerDir+"="+dir)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.in = in
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			id, result, _ := strings.Cut(sc.Text(), " ")
			c.mu.Lock()
			c.wait[id] <- result
			delete(c.wait, id)
			c.mu.Unlock()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dead = true
		for _, w := range c.wait {
			close(w)
		}
	}()
	return c
}

// call asks a manager for something; false when it died before it answered, or
// did not do it.
func (c *child) call(verb string, arg any) (string, bool) {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return "", false
	}
	c.n++
	id, w := strconv.Itoa(c.n), make(chan string, 1)
	c.wait[id] = w
	_, err := fmt.Fprintf(c.in, "%s %s %v\n", id, verb, arg)
	c.mu.Unlock()
	if err != nil {
		return "", false
	}
	r, ok := <-w
	return r, ok && !strings.HasPrefix(r, "error")
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// fleet is managers on one database, of which some are killed.
type fleet struct {
	t    *testing.T
	mu   sync.Mutex
	list []*child
}

func (f *fleet) any() *child {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list[rand.IntN(len(f.list))]
}

// insist asks one manager after the other until one has done it.
func (f *fleet) insist(verb string, arg any) string {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if r, ok := f.any().call(verb, arg); ok {
			return r
		}
	}
	f.t.Errorf("nobody does %s %v", verb, arg)
	return ""
}

// both asks two managers at once.
func (f *fleet) both(one, other string, arg any) (a, b string) {
	var wg sync.WaitGroup
	wg.Go(func() { a = f.insist(one, arg) })
	b = f.insist(other, arg)
	wg.Wait()
	return a, b
}

// Three managers on one PostgreSQL are killed under load, again and again. Every
// message is taken in once, whichever of them it is brought to; what is decided
// is decided once and carried out once; what is due expires; nothing is left
// over, and the counters are right.
func TestSeveralManagers(t *testing.T) {
	length := time.Duration(0) // until there are enough
	if v, err := strconv.Atoi(os.Getenv(managerTime)); err == nil {
		length = time.Duration(v) * time.Second
	}
	dsn, dir := newDatabase(t), t.TempDir()
	for _, d := range []string{"content", "ledger"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	db, err := (&pgDialect{}).openDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f := &fleet{t: t}
	for i := range 3 {
		f.list = append(f.list, startChild(t, fmt.Sprint("M", i), dsn, dir))
	}
	stop := make(chan struct{})
	var load, killer sync.WaitGroup
	var mu sync.Mutex
	kills, acked := 0, map[int]string{}
	done := func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return len(acked), kills
	}
	killer.Go(func() {
		for next := 5; ; next += 3 + rand.IntN(10) { // by what was done, not by the clock: on a busy machine nobody would come to anything
			for n := 0; n < next; n, _ = done() {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			i := rand.IntN(len(f.list))
			f.mu.Lock()
			old := f.list[i]
			f.list[i] = startChild(t, fmt.Sprint("M", i), dsn, dir)
			f.mu.Unlock()
			old.kill()
			mu.Lock()
			kills++
			mu.Unlock()
		}
	})
	for w := range 8 {
		load.Go(func() {
			for n := w + 1; ; n += 8 {
				select {
				case <-stop:
					return
				default:
				}
				a, b := f.both("ingest", "ingest", n)
				if a != b {
					t.Errorf("%d was taken in as %s and as %s", n, a, b)
				}
				mu.Lock()
				acked[n] = a
				mu.Unlock()
				switch n % 5 {
				case 0:
					f.both("delete", "delete", a)
				case 1:
					f.both("release", "release", a)
				case 2:
					f.both("release", "delete", a)
				default: // it is due
					if _, err := db.Exec("UPDATE membership SET exit = 1 WHERE mid = $1", a); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		n, k := done()
		if length > 0 && time.Since(began) >= length || length == 0 && n >= 50 && k >= 3 || t.Failed() {
			break
		}
		if length == 0 && time.Since(began) > 5*time.Minute {
			t.Errorf("only %d messages and %d kills", n, k)
			break
		}
	}
	close(stop)
	load.Wait()
	killer.Wait()
	left := func() (n int) {
		if err := db.QueryRow("SELECT COUNT(*) FROM message WHERE state NOT IN (3, 5)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	until(t, func() bool { return left() == 0 })
	for _, c := range f.list {
		c.kill()
	}
	checkSeveral(t, db, dir, acked)
	proof.Line(t, "store/managers", len(acked))
	t.Logf("%d messages, %d kills", len(acked), kills)
}

// checkSeveral looks at what is left.
func checkSeveral(t *testing.T, db *sql.DB, dir string, acked map[int]string) {
	took := map[string]int{}
	files, err := os.ReadDir(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT mid, key, state, actions, gateway_mid FROM message")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen, gone := 0, 0
	for _, e := range files {
		took[e.Name()]++
	}
	for rows.Next() {
		var mid, key string
		var state, actions, n int
		if err := rows.Scan(&mid, &key, &state, &actions, &n); err != nil {
			t.Fatal(err)
		}
		if seen++; acked[n] != mid && acked[n] != "" {
			t.Errorf("%d was acknowledged as %s and is %s", n, acked[n], mid)
		}
		name := strings.ReplaceAll(string(mail.NewActionKey(mail.Key(key), 1)), "/", "_")
		if released := state == int(quarantine.Gone); actions > 1 || released != (took[name] == 1) {
			t.Errorf("%d is %s after %d decisions, and the gateway took it %d times", n, quarantine.State(state), actions, took[name])
		} else if released {
			gone++
		}
		if n%5 == 0 && state != int(quarantine.Removed) || n%5 == 1 && state != int(quarantine.Gone) {
			t.Errorf("%d is %s", n, quarantine.State(state))
		}
	}
	if seen < len(acked) || gone != len(files) {
		t.Errorf("%d acknowledged, %d kept; %d released, %d taken", len(acked), seen, gone, len(files))
	}
	for _, q := range []string{"SELECT COUNT(*) FROM content", "SELECT COUNT(*) FROM intent", "SELECT SUM(ABS(messages) + ABS(bytes)) FROM tally",
		"SELECT COUNT(*) - COUNT(DISTINCT key) FROM message"} {
		var n int
		if err := db.QueryRow(q).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", q, n, err)
		}
	}
}
