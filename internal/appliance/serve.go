package appliance

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"lazaret/internal/adminssh"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// sockets are what administration listens at.
type sockets struct {
	mu   sync.Mutex
	ctx  context.Context
	at   netip.AddrPort
	ssh  net.Listener
	wg   sync.WaitGroup
	gone bool
}

// OpenAdmin opens SSH and the local socket; commands are run by runner.
func (a *Appliance) OpenAdmin(runner adminssh.Runner) error {
	s, err := adminssh.New(adminssh.Options{Users: a.Users, HostKey: a.HostKey, Runner: runner, Audit: a.Audit, Fault: a.Log.Fault})
	if err != nil {
		return err
	}
	a.ssh = s
	if a.opt.Check {
		return nil
	}
	a.sockets.ctx = context.Background()
	c := a.Config.Committed()
	if err := a.listenSSH(c); err != nil {
		return err
	}
	a.moveMetrics(c.Metrics.Listen)
	local, err := adminssh.ListenLocal(SocketPath(a.Dir))
	if err != nil {
		return err
	}
	a.sockets.wg.Go(func() {
		if err := s.ServeLocal(a.sockets.ctx, local); err != nil && !errs.Is(err, errs.Closed) && !errors.Is(err, net.ErrClosed) {
			a.Log.Fault("local socket", err.Error())
		}
	})
	return nil
}

// listenSSH opens the SSH port and serves it.
func (a *Appliance) listenSSH(c *config.Config) error {
	at, err := address(c, c.SSH.Interface, c.SSH.Port)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return errs.Wrap(errs.Internal, err, "SSH")
	}
	k := &a.sockets
	k.mu.Lock()
	k.at, k.ssh = at, l
	k.mu.Unlock()
	k.wg.Go(func() {
		if err := a.ssh.Serve(k.ctx, l); err != nil && !errs.Is(err, errs.Closed) && !errors.Is(err, net.ErrClosed) {
			a.Log.Fault("SSH", err.Error())
		}
	})
	return nil
}

// moveSSH follows a changed address. Sessions that are open stay; the old port
// closes when the new one is open.
func (a *Appliance) moveSSH(c *config.Config) {
	k := &a.sockets
	k.mu.Lock()
	old, at, gone := k.ssh, k.at, k.gone
	k.mu.Unlock()
	next, err := address(c, c.SSH.Interface, c.SSH.Port)
	if err != nil || old == nil || next == at || gone {
		return
	}
	if err := a.listenSSH(c); err != nil {
		a.Log.Fault("SSH", err.Error())
		return
	}
	if err := old.Close(); err != nil {
		a.Log.Fault("SSH", err.Error())
	}
}

// CloseAdmin ends all sessions of administrators.
func (a *Appliance) CloseAdmin() error {
	k := &a.sockets
	k.mu.Lock()
	k.gone = true
	k.mu.Unlock()
	if a.ssh == nil {
		return nil
	}
	err := a.ssh.Close()
	k.wg.Wait()
	if a.metrics != nil {
		err = errors.Join(err, a.metrics.Close())
	}
	return err
}

// KeepCounters saves the lifetime counters now and then until ctx ends.
func (a *Appliance) KeepCounters(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := a.State.SaveCounters(a.Stats); err != nil {
			a.Log.Fault("counters", err.Error())
		}
	}
}
