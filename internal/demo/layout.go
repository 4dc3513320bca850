package demo

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/loopback"
)

const (
	layoutName  = "demo.json"
	mailboxName = "mailbox"
)

// layout is what DIR/demo.json keeps: who is there, and at which ports.
type layout struct {
	Version  int     `json:"version"`
	Manager  place   `json:"manager"`
	Gateways []place `json:"gateways"`
	Mailbox  string  `json:"mailbox"` // host:port
	Sampled  bool    `json:"sampled"` // the sample mail was sent
	path     string  // of the file
}

// place is one appliance.
type place struct {
	Name     string `json:"name"`
	SMTP     string `json:"smtp,omitempty"`
	CPQ      string `json:"cpq"`
	SSH      string `json:"ssh"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// usual are the ports of a demonstration on a machine that has them free.
var usual = [...]int{2200, 7025, 2525, 7125, 2201, 2526, 7126, 2202, 2600}

// newLayout chooses ports: N, N+1 and so on with a base, otherwise the usual
// ones, or free ones in place of those that are taken.
func newLayout(path string, base int) (*layout, error) {
	if base != 0 && (base < 1024 || base > 65535-len(usual)) {
		return nil, errs.New(errs.Invalid, "--port-base %d: it is 1024 to %d", base, 65535-len(usual))
	}
	var at [len(usual)]string
	others, err := loopback.FreePorts(len(usual))
	if err != nil {
		return nil, err
	}
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close() // it only kept others away while we chose
		}
	}()
	for i := range usual {
		port := usual[i]
		if base != 0 {
			port = base + i
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil && base != 0 {
			return nil, errs.Wrap(errs.Conflict, err, "--port-base %d", base)
		}
		if err != nil {
			if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(others[i])); err != nil {
				return nil, errs.Wrap(errs.Internal, err, "looking for a free port")
			}
		}
		held = append(held, l)
		at[i] = l.Addr().String()
	}
	gw := func(n, i int) place {
		return place{Name: "gw" + strconv.Itoa(n), SMTP: at[i], CPQ: at[i+1], SSH: at[i+2], User: "admin"}
	}
	return &layout{
		Version: 1, path: path, Mailbox: at[8],
		Manager:  place{Name: "sma1", SSH: at[0], CPQ: at[1], User: "admin"},
		Gateways: []place{gw(1, 2), gw(2, 5)},
	}, nil
}

// loadLayout gives nil when there is none.
func loadLayout(path string) (*layout, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading %s", path)
	}
	l := &layout{}
	if err := json.Unmarshal(b, l); err != nil || l.Version != 1 || len(l.Gateways) != 2 {
		return nil, errs.New(errs.Damaged, "%s is damaged or of another version; remove %s to start anew", path, filepath.Dir(path))
	}
	l.path = path
	return l, nil
}

func (l *layout) save() error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return errs.Wrap(errs.Internal, err, "demonstration")
	}
	return config.WriteFile(l.path, append(b, '\n'), 0o600)
}

// names gives the parts in the order in which they start.
func (l *layout) names() []string {
	all := []string{mailboxName, l.Manager.Name}
	for _, g := range l.Gateways {
		all = append(all, g.Name)
	}
	return all
}

func portOf(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}
