package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/peer"
	"lazaret/internal/queue"
)

// pairWith is what a manager says of itself.
func pairWith(g *Gateway, n byte, records string) peer.PairRequest {
	id := string('0' + rune(n))
	return peer.PairRequest{Version: peer.Version, Serial: "MANAGER00" + id, Name: "sma" + id + ".example.com", CPQ: "192.0.2." + id + ":7025", Records: records,
		Pins: g.CPQPins(), Key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(g.HostKey.PublicKey())))}
}

// Managers that work on one database are managers of one gateway: its mail goes
// to the next when one does not answer, and stays there. Any other is refused, and
// nothing is changed.
func TestSeveralManagers(t *testing.T) {
	g := newGateway(t, nil)
	pair := func(n byte, records string) error {
		_, err := g.Pair(t.Context(), root, pairWith(g, n, records))
		return err
	}
	at := func() string {
		e, err := locator{g}.Locate(t.Context(), queue.Dest{Name: queue.CPQHost})
		if err != nil {
			t.Fatal(err)
		}
		return e.Addr.String()
	}
	forget := func(addr string) {
		locator{g}.Forget(queue.Dest{Name: queue.CPQHost}, delivery.Endpoint{Addr: netip.MustParseAddrPort(addr)})
	}
	const shared = "DATABASEA"
	for _, c := range []struct {
		n       byte
		records string
		want    []string
	}{
		{1, "", []string{"MANAGER001"}},
		{2, "", []string{"MANAGER001"}},     // nobody's database is not a shared one
		{2, shared, []string{"MANAGER001"}}, // the first has not said that it is on it
		{1, shared, []string{"MANAGER001"}},
		{2, "DATABASEB", []string{"MANAGER001"}},
		{2, shared, []string{"MANAGER001", "MANAGER002"}},
		{1, shared, []string{"MANAGER001", "MANAGER002"}},
		{1, "", []string{"MANAGER001", "MANAGER002"}}, // it left the others behind: that is to be ended first
		{3, shared, []string{"MANAGER001", "MANAGER002", "MANAGER003"}},
	} {
		err := pair(c.n, c.records)
		conf := g.Config.Committed()
		var have []string
		for _, m := range conf.CPQ.Managers {
			have = append(have, m.Serial)
		}
		if !slices.Equal(have, c.want) || err != nil && (!errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "same database")) {
			t.Errorf("%d on %q: %v, %v", c.n, c.records, err, have)
		}
	}
	for i, want := range []string{"192.0.2.1:7025", "192.0.2.2:7025", "192.0.2.3:7025", "192.0.2.1:7025"} {
		if got := at(); got != want {
			t.Fatalf("%d: %s, not %s", i, got, want)
		}
		forget("192.0.2.9:7025") // not the one that is asked now: another session's old news
		forget(want)
		forget(want) // two sessions met the same one
	}
	for _, n := range []string{"MANAGER001", "MANAGER002", "MANAGER003"} {
		if !slices.ContainsFunc(g.Config.Committed().Users, func(u config.User) bool {
			return u.Name == config.ClientUser(n) && u.Group == string(mail.CommandClient)
		}) {
			t.Errorf("%s has no command client", n)
		}
	}
	if err := g.Config.Update(root, "unpair", func(c *config.Config) error { return c.ForgetManager() }); err != nil || len(g.Config.Committed().CPQ.Managers) != 0 {
		t.Errorf("the end of all pairings: %v", err)
	}
}
