package adminssh

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/console"
	"lazaret/internal/mail"
)

// channels serves the sessions of a connection: any number in turn, a few at a
// time. It waits for all of them.
func (s *Server) channels(ctx context.Context, p mail.Principal, channels <-chan ssh.NewChannel) {
	slots := make(chan struct{}, s.o.Limits.Channels)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for nc := range channels {
		if nc.ChannelType() != "session" {
			nc.Reject(ssh.UnknownChannelType, "only sessions are served")
			continue
		}
		if !obtain(slots) {
			nc.Reject(ssh.ResourceShortage, "too many sessions on this connection")
			continue
		}
		ch, requests, err := nc.Accept()
		if err != nil {
			<-slots
			continue
		}
		sessions.Go(func() {
			defer func() { <-slots }()
			x := &session{s: s, p: p, ch: ch}
			x.serve(ctx, requests)
		})
	}
}

// slotGrace is how long a new session waits for one that is just ending: a
// client opens the next as soon as it has heard our close, and we may not yet
// have heard its answer.
const slotGrace = 500 * time.Millisecond

func obtain(slots chan struct{}) bool {
	timer := time.NewTimer(slotGrace)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// session is one channel.
type session struct {
	s  *Server
	p  mail.Principal
	ch ssh.Channel

	pty     *terminal // nil without pty-req
	started bool
	done    sync.WaitGroup
}

// serve answers the channel's requests until the peer closes it.
func (x *session) serve(ctx context.Context, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer x.done.Wait()
	defer x.ch.Close()
	defer cancel() // the peer is gone: what runs must end
	for r := range requests {
		ok := x.request(ctx, r)
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if run := x.take(r, ok); run != nil {
			x.done.Go(func() {
				// exit-status, then close, RFC 4254 section 6.10. The loop
				// over requests ends when the peer closes too.
				status := x.guard(func() int { return run(ctx) })
				x.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
				x.ch.Close()
			})
		}
	}
}

// request handles what only changes the session; RFC 4254 sections 6.2 to 6.9.
func (x *session) request(ctx context.Context, r *ssh.Request) bool {
	switch r.Type {
	case "env":
		return true // accepted for clients that insist, and ignored
	case "pty-req":
		var m struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}
		if x.pty != nil || x.started || ssh.Unmarshal(r.Payload, &m) != nil {
			return false
		}
		x.pty = newTerminal(x.ch, x.s.o.Limits.Idle)
		x.pty.resize(m.Columns, m.Rows)
		return true
	case "window-change":
		var m struct{ Columns, Rows, Width, Height uint32 }
		if x.pty == nil || ssh.Unmarshal(r.Payload, &m) != nil {
			return false
		}
		x.pty.resize(m.Columns, m.Rows)
		return true
	case "signal":
		var m struct{ Name string }
		if x.pty == nil || ssh.Unmarshal(r.Payload, &m) != nil || m.Name != "INT" {
			return false
		}
		x.pty.in.interrupt()
		return true
	case "shell":
		return !x.started && len(r.Payload) == 0
	case "exec":
		var m struct{ Line string }
		return !x.started && ssh.Unmarshal(r.Payload, &m) == nil
	}
	return false
}

// take gives what a granted shell or exec request runs, nil for other requests.
func (x *session) take(r *ssh.Request, ok bool) func(context.Context) int {
	if !ok || r.Type != "shell" && r.Type != "exec" {
		return nil
	}
	x.started = true
	var c console.Console = newPipe(x.ch)
	if x.pty != nil {
		c = x.pty
		go x.pty.pump() // ends when the channel is closed
	}
	if r.Type == "shell" {
		return func(ctx context.Context) int {
			x.s.o.Runner.Shell(ctx, x.p, c)
			return 0
		}
	}
	var m struct{ Line string }
	if err := ssh.Unmarshal(r.Payload, &m); err != nil {
		return nil
	}
	return func(ctx context.Context) int { return x.s.o.Runner.Exec(ctx, x.p, m.Line, c) }
}

// guard keeps a panic inside its session (P5).
func (x *session) guard(run func() int) (status int) {
	defer func() {
		if r := recover(); r != nil {
			x.s.o.Fault("adminssh", fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
			io.WriteString(x.ch, "The session failed by a fault of the program; the cause is in the log\n")
			status = 1
		}
	}()
	return run()
}
