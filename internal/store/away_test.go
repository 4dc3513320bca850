package store

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

// proxy stands between a store and its server and cuts the line when told.
type proxy struct {
	to     string
	l      net.Listener
	mu     sync.Mutex
	conns  map[net.Conn]bool
	refuse bool
	armed  bool // cut at the next COMMIT; what other connections say passes
	pass   bool // and let it through before
	cut    func()
	wg     sync.WaitGroup
}

const socketName = ".s.PGSQL.5432"

// newProxy gives a proxy before the test server, and the DSN through it.
func newProxy(t *testing.T, name string) (*proxy, string) {
	dir, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: filepath.Join(server.p.Dir(), socketName), conns: map[net.Conn]bool{}}
	if p.l, err = net.Listen("unix", filepath.Join(dir, socketName)); err != nil {
		t.Fatal(err)
	}
	p.wg.Go(func() {
		for {
			c, err := p.l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		p.l.Close()
		p.drop()
		p.wg.Wait()
		os.RemoveAll(dir)
	})
	return p, "host=" + dir + " user=lazaret sslmode=disable dbname=" + name
}

func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("unix", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	refuse := p.refuse
	p.conns[c], p.conns[s] = true, true
	p.mu.Unlock()
	if refuse {
		return
	}
	p.wg.Go(func() {
		io.Copy(c, s)
		c.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut, pass := p.armed && bytes.Contains(bytes.ToLower(buf[:n]), []byte("commit")), p.pass
		p.armed = p.armed && !cut
		p.mu.Unlock()
		if cut && !pass {
			p.cut()
			return
		}
		if cut {
			c.(*net.UnixConn).CloseWrite() // the answer finds no way back
			p.cut()
		}
		if _, err := s.Write(buf[:n]); err != nil {
			return
		}
		if cut { // the server has it now; wait until it has acted on it
			time.Sleep(200 * time.Millisecond)
			return
		}
	}
}

func (p *proxy) arm(pass bool, cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.pass, p.cut = true, pass, cut
}

func (p *proxy) close(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
}

// A connection that is lost at the commit: what was committed is not done
// twice, and what was not is done, without anybody having noticed.
func TestLostCommit(t *testing.T) {
	for name, pass := range map[string]bool{"before it arrived": false, "before its answer arrived": true} {
		t.Run(name, func(t *testing.T) {
			c := &memContents{}
			p, via := newProxy(t, dbname(newDatabase(t)))
			s := openQuiet(t, Options{DSN: via, Name: "M1", Contents: c, Patience: 10 * time.Second})
			r := record(t, s, c, 1, name, "Policy")
			runs := 0
			err := s.do(ctx, true, func(t *tx) error {
				err := t.exec("UPDATE meta SET value = value WHERE name = 'none'")
				if runs++; runs == 1 {
					p.arm(pass, func() {})
				}
				return err
			})
			if err != nil || pass && runs != 1 || !pass && runs != 2 {
				t.Errorf("made %d times, %v", runs, err)
			}
			add(t, s, r)
		})
	}
}

// The server is away longer than callers wait: they hear that it is not known
// what became of their change. When it is back, what was committed stands, its
// release begins and its content goes, though nobody waits any more.
func TestLostCommitLate(t *testing.T) {
	dsn, c := newDatabase(t), &memContents{}
	p, via := newProxy(t, dbname(dsn))
	s := openQuiet(t, Options{DSN: via, Name: "M1", Contents: c, Patience: 300 * time.Millisecond})
	r := record(t, s, c, 1, "the content", "Policy")
	add(t, s, r)
	err := s.do(ctx, true, func(x *tx) error {
		x.drop(r.Content)
		x.j.intents = append(x.j.intents, r.MID)
		err := x.exec("UPDATE message SET subject = 'changed' WHERE mid = $1", int64(r.MID))
		p.arm(true, func() { p.close(true) })
		return err
	})
	if !errs.Is(err, errs.Temporary) {
		t.Fatalf("%v", err)
	}
	if c.len() != 1 {
		t.Fatal("content was removed before it was known that no record has it")
	}
	if s.Ready() == nil {
		t.Error("mail would be taken while the database is away")
	}
	p.close(false)
	until(t, func() bool { return s.Ready() == nil })
	until(t, func() bool { return c.len() == 0 })
	if late := s.lateIntents(); len(late) != 1 || late[0] != r.MID {
		t.Errorf("late: %v", late)
	}
	if got := load(t, s, r.MID); got.Subject != "changed" {
		t.Errorf("subject %q", got.Subject)
	}
}

// A server that ends in the midst of things and comes back: what was
// acknowledged is there, what was refused is not there twice, and mail goes on
// by itself. A search says that the database is away.
func TestServerAway(t *testing.T) {
	p, err := testlib.StartPostgres("fsync=on")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.End(); err != nil {
			t.Error(err)
		}
	}()
	c := &memContents{}
	s := openQuiet(t, Options{DSN: p.Database(t), Name: "M1", Contents: c, Patience: 200 * time.Millisecond})
	var mu sync.Mutex
	acked := map[mail.MID]*quarantine.Record{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w * 100000; ; n++ {
				r := record(t, s, c, n, "x"+r0(n), "Policy")
				for {
					select {
					case <-stop:
						return
					default:
					}
					mid, existing, err := s.Add(ctx, r) // a gateway repeats what it is not sure of
					if err == nil {
						mu.Lock()
						if acked[mid] != nil || existing && mid != r.MID {
							t.Errorf("%d acknowledged again", mid)
						}
						acked[mid] = r
						mu.Unlock()
						break
					}
					if !errs.Is(err, errs.Temporary) {
						t.Errorf("refused: %v", err)
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGINT, syscall.SIGQUIT} {
		before := count(&mu, acked)
		until(t, func() bool { return count(&mu, acked) > before+50 })
		if err := p.Stop(sig); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(ctx, []mail.MID{1}); !errs.Is(err, errs.Temporary) || errs.Public(err) != "the database cannot be reached" {
			t.Errorf("a search says %v", err)
		}
		until(t, func() bool { return s.Ready() != nil })
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return s.Ready() == nil })
	}
	before := count(&mu, acked)
	until(t, func() bool { return count(&mu, acked) > before+50 })
	close(stop)
	wg.Wait()
	for mid, r := range acked {
		if got := load(t, s, mid); got.Key != r.Key {
			t.Errorf("%d is %s", mid, got.Key)
		}
	}
	var rows, pool int64
	s.read.QueryRow("SELECT COUNT(*) FROM message").Scan(&rows)
	s.read.QueryRow(`SELECT messages FROM tally WHERE quarantine = '"pool'`).Scan(&pool)
	if n := int64(len(acked)); rows < n || rows > n+4 || pool != rows { // four may have been in flight at the end
		t.Errorf("%d acknowledged, %d rows, %d counted", n, rows, pool)
	}
	t.Logf("%d acknowledged over 3 ends of the server", len(acked))
}

func count(mu *sync.Mutex, m map[mail.MID]*quarantine.Record) int {
	mu.Lock()
	defer mu.Unlock()
	return len(m)
}
