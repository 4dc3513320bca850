package manager

import (
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/adminssh"
	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/dns"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

// anyPin is a pin but for its last three characters.
const anyPin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func freePort(t *testing.T) int {
	t.Helper()
	return int(testlib.FreePort(t).Port())
}

// A gateway that cannot be told where we take mail now is named in the log once,
// not at the first attempt, and in cpqconfig for as long as it lasts.
func TestUnreachableGatewayWarns(t *testing.T) {
	dir := t.TempDir()
	if _, err := appliance.Init(dir, config.Manager, appliance.InitOptions{CPQPort: freePort(t), SSHPort: freePort(t)}); err != nil {
		t.Fatal(err)
	}
	m, err := New(Options{Dir: dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	closed := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	key, err := adminssh.LoadKey(m.Path("keys", appliance.ClientKey))
	if err != nil {
		t.Fatal(err)
	}
	err = m.Config.Update(mail.System(), "probe", func(c *config.Config) error {
		c.Appliances = append(c.Appliances, config.Appliance{Name: "gw1.example.com", Serial: "GATEWAY001", SSH: closed, User: "cpq",
			HostKey: string(ssh.MarshalAuthorizedKey(key.PublicKey())), Pins: []string{anyPin + "AA="}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.link.round(t.Context())
	}
	if lines := m.link.tell(t.Context()); len(lines) != 1 || !strings.Contains(lines[0], "gw1.example.com cannot be told what is new: ") || !strings.Contains(lines[0], "connection refused") {
		t.Errorf("%q", lines)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(m.Path("log", "mail_logs", "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "Warning: CPQ certificates and addresses: gateway gw1.example.com cannot be told"); n != 1 {
		t.Errorf("%d warnings in\n%s", n, b)
	}
}
