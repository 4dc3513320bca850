package admin

import (
	"net/netip"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/peer"
)

// A gateway in hostile hands cannot take the place of another by its serial
// number or its pin: it would be given the other's released mail, or shut it out.
func TestAddApplianceImpostor(t *testing.T) {
	pins := []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	paired := func(serial, name, key string, pins []string) peer.Paired {
		return peer.Paired{HostKey: key, PairReply: peer.PairReply{Serial: serial, Name: name, Pins: pins, User: "cpq", Location: peer.Location{Addr: netip.MustParseAddrPort("192.0.2.1:7025")}}}
	}
	c := config.Defaults(config.Params{Role: config.Manager, Hostname: "sma1.example.com", Serial: "MANAGER001", IP: "127.0.0.1", SSHPort: 2222, CPQPort: 7025,
		Password: "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
	if err := AddAppliance(c, "192.0.2.1:22", paired("GATEWAY001", "gw1.example.com", "ssh-ed25519 AAAA", pins)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if err := AddAppliance(c, "192.0.2.9:22", paired("GATEWAY001", "gw9.example.com", "ssh-ed25519 BBBB", pins)); !errs.Is(err, errs.Conflict) || c.Appliances[0].SSH != "192.0.2.1:22" {
		t.Errorf("the serial of another: %v", err)
	}
	if err := AddAppliance(c, "192.0.2.2:22", paired("GATEWAY001", "gw1.example.com", "ssh-ed25519 AAAA", pins)); err != nil || len(c.Appliances) != 1 || c.Appliances[0].SSH != "192.0.2.2:22" {
		t.Errorf("moved: %v", err)
	}
	if err := AddAppliance(c, "192.0.2.9:22", paired("GATEWAY002", "gw2.example.com", "ssh-ed25519 BBBB", pins)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); !errs.Is(err, errs.Invalid) {
		t.Errorf("the pin of another: %v", err)
	}
}
