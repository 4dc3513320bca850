package fault

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
)

// relay stands between a manager and the SSH port of its gateway, and puts the
// address of a link in place of the one at which the gateway takes releases. It
// has the keys of both, so neither sees a difference.
type relay struct {
	addr string

	to       string // the gateway's SSH port
	old, new string // addresses
	login    ssh.Signer
	config   *ssh.ServerConfig
	ln       net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func newRelay(gateway, manager, to, old, new string) (*relay, error) {
	host, err := readKey(filepath.Join(gateway, "keys", "ssh_host_ed25519"))
	if err != nil {
		return nil, err
	}
	login, err := readKey(filepath.Join(manager, "keys", "command_client_ed25519"))
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{addr: ln.Addr().String(), to: to, old: old, new: new, login: login, ln: ln, conns: map[net.Conn]bool{},
		config: &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}}
	r.config.AddHostKey(host)
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(c) })
		}
	})
	return r, nil
}

func readKey(name string) (ssh.Signer, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(b)
}

// keep notes a connection that close has to end; false when it is too late.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_ = c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) drop(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) close() {
	_ = r.ln.Close()
	r.mu.Lock()
	r.closed = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) serve(c net.Conn) {
	if !r.keep(c) {
		return
	}
	defer r.drop(c)
	server, channels, requests, err := ssh.NewServerConn(c, r.config)
	if err != nil {
		return
	}
	r.wg.Go(func() { ssh.DiscardRequests(requests) })
	out, err := net.Dial("tcp4", r.to)
	if err != nil || !r.keep(out) {
		return
	}
	defer r.drop(out)
	conn, chans, reqs, err := ssh.NewClientConn(out, r.to, &ssh.ClientConfig{User: server.User(), Auth: []ssh.AuthMethod{ssh.PublicKeys(r.login)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey()}) // it is on loopback, and ours
	if err != nil {
		return
	}
	client := ssh.NewClient(conn, chans, reqs)
	for ch := range channels {
		r.session(client, ch)
	}
}

// session passes one command on, and its answer back.
func (r *relay) session(client *ssh.Client, wanted ssh.NewChannel) {
	ch, requests, err := wanted.Accept()
	if err != nil {
		return
	}
	defer func() { _ = ch.Close() }()
	for req := range requests {
		if req.Type != "exec" {
			_ = req.Reply(false, nil)
			continue
		}
		var command struct{ Line string }
		if ssh.Unmarshal(req.Payload, &command) != nil {
			return
		}
		_ = req.Reply(true, nil)
		status := uint32(0)
		s, err := client.NewSession()
		if err != nil {
			return
		}
		s.Stdin = bytes.NewReader(nil)
		out, err := s.Output(command.Line)
		_ = s.Close()
		if exit, ok := err.(*ssh.ExitError); ok {
			status = uint32(exit.ExitStatus())
		} else if err != nil {
			return
		}
		if _, err := io.Copy(ch, bytes.NewReader(bytes.ReplaceAll(out, []byte(r.old), []byte(r.new)))); err != nil {
			return
		}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}

// relayed puts a link between the manager and the port of the gateway at which
// it takes releases.
func (w *World) relayed(gw place) (err error) {
	if w.Back, err = NewProxy(gw.CPQ); err != nil {
		return err
	}
	if w.relay, err = newRelay(w.Gateway.Dir, w.Manager.Dir, gw.SSH, gw.CPQ, w.Back.Addr); err != nil {
		return err
	}
	name := filepath.Join(w.Manager.Dir, "config.xml")
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	old := []byte("<ssh_address>" + gw.SSH + "</ssh_address>")
	if bytes.Count(b, old) != 1 {
		return fmt.Errorf("%s does not say %s once", name, old)
	}
	return os.WriteFile(name, bytes.Replace(b, old, []byte("<ssh_address>"+w.relay.addr+"</ssh_address>"), 1), 0o600)
}
