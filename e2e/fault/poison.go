package fault

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"lazaret/e2e/history"
)

// poison sends messages that kill the gateway, with kill -9, in the middle of
// their judgement: as soon as an engine of ours is shown one. Each
// has to be parked in Policy behind three deaths at most that were counted, and
// all other mail has to go its way. A trial is one such message.
func poison(ctx context.Context, c Config, trials int) (*Result, error) {
	e, err := newEngine()
	if err != nil {
		return nil, err
	}
	defer e.close()
	c.Edit = func(_ *World, xml string) string {
		return strings.Replace(xml, "<antivirus>", "<antivirus><clamd>"+e.addr+"</clamd>", 1)
	}
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: "F20", Trials: trials}
	load := w.Begin(&Load{Sessions: 10, Pause: 200 * time.Millisecond})
	worst := 0
	for i := range trials {
		key := fmt.Sprintf("l98s0n%d", i)
		if err := w.sendPoison(ctx, key); err != nil {
			return nil, err
		}
		if err := w.parked(ctx, e, key); err != nil {
			return nil, err
		}
		n := e.shown(key)
		if worst = max(worst, n); n > mostDeaths {
			r.fail("%s killed the gateway %d times", key, n)
		}
		clean := w.Sinks["a.example"].Count.Load()
		if err := until(ctx, "ordinary mail goes on", func() (bool, error) { return w.Sinks["a.example"].Count.Load() > clean, nil }); err != nil {
			r.fail("%v", err)
		}
	}
	load.End()
	if r.Report, err = w.Finish(ctx, 3*time.Minute); err != nil {
		return nil, err
	}
	if r.Report.Kills < trials {
		r.fail("%d deaths: the run proves little", r.Report.Kills)
	}
	r.note("%d deaths over %d poisonous messages, %d over one at most", r.Report.Kills, trials, worst)
	return r, nil
}

// mostDeaths are three that were counted, and that of fresh mail, which is
// judged at once: its first death is what the count begins with.
const mostDeaths = 4

// poisonMark makes the engine kill.
const poisonMark = "X-Poison: yes"

// sendPoison sends one poisonous message until it is taken. It is to be held.
func (w *World) sendPoison(ctx context.Context, key string) error {
	rng := rand.New(rand.NewPCG(1, uint64(len(key))))
	text := content(key, history.Clean, 500, rng)
	text = bytes.Replace(text, []byte("\r\nSubject:"), []byte("\r\n"+poisonMark+"\r\nSubject:"), 1)
	for n := 0; ; n++ {
		if err := w.Heal(ctx); err != nil {
			return err
		}
		c, err := dial(w.SMTP)
		if err != nil {
			continue
		}
		e, _, _ := c.send(&Mail{Key: key, From: "p@client.example", To: []string{"p@a.example"}, Class: history.Hold, Content: text})
		_ = c.Close()
		if e.What == history.Refused && n < 100 {
			continue // it went away in front of the dot
		}
		e.Appliance = w.Gateway.Host
		w.H.Add(e)
		return nil
	}
}

// parked heals until the message is held, and says for what reason.
func (w *World) parked(ctx context.Context, e *engine, key string) error {
	return until(ctx, key+" is parked", func() (bool, error) {
		select {
		case <-e.asked:
			w.KillNow(w.Gateway)
		default:
		}
		if err := w.Heal(ctx); err != nil {
			return false, err
		}
		found, err := w.search(ctx, "message-id "+key+"@client.example")
		if err != nil || len(found) == 0 {
			return false, err
		}
		reason := ""
		for _, q := range found[0].Quarantines {
			reason += q.Reason
		}
		if !strings.Contains(reason, "its judgement was cut off 3 times") {
			return false, fmt.Errorf("%s is held for %q", key, reason)
		}
		return true, nil
	})
}

// until waits for a state of a busy machine.
func until(ctx context.Context, what string, is func() (bool, error)) error {
	for end := time.Now().Add(3 * time.Minute); ; rest(ctx, 50*time.Millisecond) {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("in three minutes it does not come to it that %s", what)
		}
	}
}

// engine speaks clamd's protocol as far as the gateway does, calls everything
// clean, and does not answer over what is marked, but asks for a kill.
type engine struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	asked chan struct{} // for a kill

	mu    sync.Mutex
	idle  bool          // it calls everything clean
	hit   chan struct{} // closed by the next that is marked
	conns map[net.Conn]bool
	seen  map[string]int // poisonous messages, how often each was shown
}

func newEngine() (*engine, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &engine{addr: ln.Addr().String(), ln: ln, conns: map[net.Conn]bool{}, seen: map[string]int{}, asked: make(chan struct{}, 1000)}
	e.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns[c] = true
			e.mu.Unlock()
			e.wg.Go(func() {
				e.serve(c)
				_ = c.Close()
				e.mu.Lock()
				delete(e.conns, c)
				e.mu.Unlock()
			})
		}
	})
	return e, nil
}

// arm says whether the engine answers about what is marked.
func (e *engine) arm(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle = !on
}

// first gives a channel that is closed when the engine is shown the next marked
// message.
func (e *engine) first() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hit = make(chan struct{})
	return e.hit
}

// poisoned notes a marked message; false when the engine is to answer.
func (e *engine) poisoned(b []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.idle || !bytes.Contains(b, []byte(poisonMark)) {
		return false
	}
	key, _, _, _ := identify(b)
	e.seen[key]++
	if e.hit != nil {
		close(e.hit)
		e.hit = nil
	}
	return true
}

func (e *engine) close() {
	_ = e.ln.Close()
	e.mu.Lock()
	for c := range e.conns {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

func (e *engine) shown(key string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[key]
}

func (e *engine) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for id := 0; ; {
		command, err := in.ReadString(0)
		if err != nil {
			return
		}
		session := ""
		if id > 0 {
			session = fmt.Sprintf("%d: ", id)
		}
		switch strings.Trim(command, "z\x00") {
		case "IDSESSION":
			id = 1
			continue
		case "VERSION":
			_, err = io.WriteString(c, session+"ClamAV 1.4.6\x00")
		case "INSTREAM":
			var b []byte
			if b, err = stream(in); err == nil && e.poisoned(b) {
				e.asked <- struct{}{}
				_, _ = in.ReadByte() // until it is dead
				return
			}
			if err == nil {
				_, err = io.WriteString(c, session+"stream: OK\x00")
			}
		default:
			return
		}
		if err != nil {
			return
		}
		if id > 0 {
			id++
		}
	}
}

// stream reads the pieces of one message.
func stream(in io.Reader) ([]byte, error) {
	var b bytes.Buffer
	for {
		var n uint32
		if err := binary.Read(in, binary.BigEndian, &n); err != nil || n == 0 {
			return b.Bytes(), err
		}
		if _, err := io.CopyN(&b, in, int64(n)); err != nil {
			return nil, err
		}
	}
}
