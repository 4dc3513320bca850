package manager

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/mail"
)

// anyPin is a pin but for its last three characters.
const anyPin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A changed CPQ address is unknown to the gateways: the log says how many have
// to be added again, once, and nothing where nobody is concerned.
func TestMovedCPQAddressWarns(t *testing.T) {
	dir := t.TempDir()
	if _, err := appliance.Init(dir, config.Manager, appliance.InitOptions{CPQPort: freePort(t), SSHPort: freePort(t)}); err != nil {
		t.Fatal(err)
	}
	m, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	update := func(f func(c *config.Config)) {
		t.Helper()
		if err := m.Config.Update(mail.System(), "probe", func(c *config.Config) error { f(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	gateway := func(name, serial, pin string) config.Appliance {
		return config.Appliance{Name: name, Serial: serial, SSH: "127.0.0.1:2222", User: "cpq", HostKey: "ssh-ed25519 x", Pins: []string{anyPin + pin + "="}}
	}
	port := func(c *config.Config) { c.CPQListener().Port = freePort(t) }
	update(port) // nobody is paired
	update(func(c *config.Config) { c.Appliances = append(c.Appliances, gateway("gw1", "GATEWAY001", "AA")) })
	update(port)
	update(func(c *config.Config) { c.Appliances = append(c.Appliances, gateway("gw2", "GATEWAY002", "AE")) })
	update(func(c *config.Config) {
		c.Interfaces = append(c.Interfaces, config.Interface{Name: "Inner", IP: "127.0.0.2"})
		c.CPQListener().Interface = "Inner"
	})
	update(func(c *config.Config) { c.Hostname = "sma9.example.com" })
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(m.Path("log", "mail_logs", "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	log := string(b)
	for _, want := range []string{": 1 gateway still has the old one; add it again", ": 2 gateways still have the old one; add each again"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("%q is not there once", want)
		}
	}
	if n := strings.Count(log, "CPQ address is now"); n != 2 {
		t.Errorf("%d warnings in\n%s", n, log)
	}
}
