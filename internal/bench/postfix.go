package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/loopback"
)

// The two ways in which Postfix is set up.
const (
	peerTuned   = "postfix"
	peerDefault = "postfix-default"
)

// postfixSite is a private instance of Postfix: its own configuration, queue
// and ports; the one that may run on the machine is not touched.
type postfixSite struct {
	name  string
	dir   string
	port  int
	child *child
	pid   int
}

func (p *postfixSite) etc() string { return filepath.Join(p.dir, "etc") }

func (p *postfixSite) subject() *subject {
	return &subject{name: p.name, addr: at(p.port), cpu: func() time.Duration { return treeCPU(p.pid) }, memory: func() uint64 {
		sum := memory(p.pid)
		for _, c := range children(p.pid) {
			sum += memory(c)
		}
		return sum
	}}
}

// startPostfix makes and runs an instance that relays to the sink, or that
// puts all mail into its hold queue.
func (o *Options) startPostfix(ctx context.Context, dir, sink string, hold bool) (*postfixSite, error) {
	if err := openToOthers(dir); err != nil {
		return nil, err
	}
	free, err := loopback.FreePorts(1)
	if err != nil {
		return nil, err
	}
	p := &postfixSite{name: o.Peer, dir: dir, port: free[0]}
	if err := p.configure(sink, hold); err != nil {
		return nil, err
	}
	if p.child, err = o.start("postfix", "-dir", dir); err != nil {
		return nil, err
	}
	var r postfixReady
	if err := p.child.answer(ctx, &r); err != nil {
		_ = p.child.end() // its words are in the error already
		return nil, err
	}
	p.pid = r.Pid
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := listening(ctx, at(p.port)); err != nil {
		return nil, errors.Join(err, p.child.end())
	}
	return p, nil
}

// openToOthers refuses a directory that the user postfix cannot enter: Postfix
// would start and never answer.
func openToOthers(dir string) error {
	for d := filepath.Dir(dir); ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return errs.Wrap(errs.Invalid, err, "--dir")
		}
		if info.Mode()&0o001 == 0 {
			return errs.New(errs.Invalid, "Postfix runs as another user and cannot enter %s: choose another --dir", d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// plainMain is what an instance of its own needs.
func (p *postfixSite) plainMain(sink string) map[string]string {
	host, port, _ := net.SplitHostPort(sink) // we made it
	return map[string]string{
		"compatibility_level": "3.6", "queue_directory": filepath.Join(p.dir, "queue"), "data_directory": filepath.Join(p.dir, "data"),
		"mail_owner": "postfix", "setgid_group": "postdrop", "myhostname": "postfix.bench.example", "mydestination": "",
		"mynetworks": "127.0.0.0/8", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "relayhost": "[" + host + "]:" + port,
		"alias_maps": "", "alias_database": "", "local_recipient_maps": "", "biff": "no",
		"smtp_tls_security_level": "none", "smtpd_tls_security_level": "none",
	}
}

// tunedMain is Postfix as fast as its parameters make it on loopback: no
// brakes, no DNS, kept connections, nothing that looks into content.
var tunedMain = map[string]string{
	"in_flow_delay": "0", "default_destination_concurrency_limit": "20", "initial_destination_concurrency": "20",
	"default_process_limit": "150", "qmgr_message_active_limit": "100000", "qmgr_message_recipient_limit": "100000",
	"smtp_host_lookup": "native", "disable_dns_lookups": "yes", "smtpd_peername_lookup": "no",
	"smtp_connection_cache_destinations": "static:all", "smtp_connection_reuse_time_limit": "3000s",
	"smtpd_client_event_limit_exceptions": "static:all", "max_use": "20000",
	"receive_override_options": "no_address_mappings,no_header_body_checks", "enable_original_recipient": "no",
	"disable_mime_input_processing": "yes", "fast_flush_domains": "", "swap_bangpath": "no", "allow_percent_hack": "no",
	"smtpd_recipient_restrictions": "permit_mynetworks,reject", "smtpd_relay_restrictions": "",
	"local_header_rewrite_clients": "", "append_dot_mydomain": "no",
}

// configure writes the configuration.
func (p *postfixSite) configure(sink string, hold bool) error {
	for _, d := range []string{p.etc(), filepath.Join(p.dir, "data"), filepath.Join(p.dir, "queue")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return errs.Wrap(errs.Internal, err, "configuring Postfix")
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		return errs.Wrap(errs.NotFound, err, "configuring Postfix")
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err == nil {
		err = os.Chown(filepath.Join(p.dir, "data"), uid, -1)
	}
	if err != nil {
		return errs.Wrap(errs.Internal, err, "configuring Postfix")
	}
	main := p.plainMain(sink)
	if p.name == peerTuned {
		maps.Copy(main, tunedMain)
	}
	if hold {
		main["smtpd_data_restrictions"] = "check_client_access static:HOLD"
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(main)) {
		fmt.Fprintf(&b, "%s = %s\n", k, main[k])
	}
	if err := os.WriteFile(filepath.Join(p.etc(), "main.cf"), []byte(b.String()), 0o644); err != nil {
		return errs.Wrap(errs.Internal, err, "configuring Postfix")
	}
	services, err := p.services()
	if err != nil {
		return err
	}
	return errs.Wrap(errs.Internal, os.WriteFile(filepath.Join(p.etc(), "master.cf"), []byte(services), 0o644), "configuring Postfix")
}

// services gives the machine's own master.cf with one listener, ours, and
// without chroot: the daemons then need no copy of the machine in the queue.
func (p *postfixSite) services() (string, error) {
	out, err := exec.Command(sbin("postconf"), "-M").Output()
	if err != nil {
		return "", errs.Wrap(errs.Internal, err, "asking Postfix for its services")
	}
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 8 || f[7] == "pipe" {
			continue
		}
		switch {
		case f[0] == "smtp" && f[1] == "inet":
			f[0] = at(p.port)
		case f[1] == "inet":
			continue
		}
		f[4] = "n"
		b.WriteString(strings.Join(f, " ") + "\n")
	}
	return b.String(), nil
}

// postfixReady says which process is the master.
type postfixReady struct {
	Pid int `json:"pid"`
}

// postfix is the part that runs an instance in the foreground, and ends it
// when its own input ends.
func (p *part) postfix(dir string) error {
	etc := filepath.Join(dir, "etc")
	cmd := exec.Command(sbin("postfix"), "-c", etc, "start-fg")
	var words tail
	cmd.Stderr, cmd.Stdout = &words, &words
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return errs.Wrap(errs.Internal, err, "starting Postfix")
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	master, err := masterOf(p.ctx, dir, done)
	if err != nil {
		_ = cmd.Process.Kill() // it did not come up
		return errs.Context(err, "%s", &words)
	}
	if err := p.say(postfixReady{Pid: master}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return errs.New(errs.Internal, "Postfix has ended: %v: %s", err, &words)
	case <-p.ctx.Done():
	}
	if out, err := exec.Command(sbin("postfix"), "-c", etc, "stop").CombinedOutput(); err != nil {
		return errs.New(errs.Internal, "stopping Postfix: %v: %s", err, out)
	}
	<-done // its status on the way down says nothing
	return nil
}

// masterOf waits for the master's process number.
func masterOf(ctx context.Context, dir string, done <-chan error) (int, error) {
	for {
		b, err := os.ReadFile(filepath.Join(dir, "queue", "pid", "master.pid"))
		if err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && stat(pid) != nil {
				return pid, nil
			}
		}
		select {
		case err := <-done:
			return 0, errs.New(errs.Internal, "Postfix does not start: %v", err)
		case <-ctx.Done():
			return 0, errs.New(errs.Closed, "ended while Postfix was starting")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
