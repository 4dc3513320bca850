package gateway

import (
	"strings"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
	"lazaret/internal/testlib"
)

// What scanning a released message again leads to is in its account: under the
// new number when the message was changed, as discarded when it was dropped.
func TestRescanAccounts(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, policies(s.Socket))
	virus := "Subject: Offer\r\n\r\n" + testlib.EICAR() + "\r\n"
	released := func(n int, to string) mail.ActionKey {
		a := mail.NewActionKey(mail.NewKey(w.serial(), mail.MID(500+n), mail.Hash{byte(n)}), 1)
		w.inject("a@partner.example", virus, func(it *queue.Item) {
			it.Release = &queue.Release{Action: a, Gateway: w.serial(), ManagerMID: mail.MID(40 + n), GatewayMID: mail.MID(500 + n)}
		}, to)
		return a
	}
	tagged, dropped := released(1, "sales@one.example"), released(2, "board@one.example")
	account := func(a mail.ActionKey) (out *spool.Account) {
		w.until("the end of "+string(a), func() bool {
			var err error
			out, err = w.spool.Account(a)
			return err == nil && out.Final()
		})
		return out
	}
	a := account(tagged)
	if to := a.Recipients[0]; a.MID < 3 || to.State != queue.Delivered || to.Code != 250 || a.Step != "rescanned: infected Lazaret.Eicar.Part.UNOFFICIAL" {
		t.Errorf("%+v", a)
	}
	if m := w.mailbox.Messages(); len(m) != 1 || !strings.Contains(string(m[0].Content), "Subject: [WARNING: VIRUS DETECTED] Offer") {
		t.Errorf("%d messages", len(m))
	}
	if r := w.reports.of(a); len(r) != 1 || r[0].Fate != "accepted" || r[0].Reply == "" || r[0].Rescanned != "infected Lazaret.Eicar.Part.UNOFFICIAL" {
		t.Errorf("%+v", r)
	}
	a = account(dropped)
	reports := w.reports.of(a)
	if len(reports) != 1 || reports[0].Fate != "discarded" || reports[0].Code != 0 || reports[0].Reply != "rescanned: infected Lazaret.Eicar.Part.UNOFFICIAL, dropped by antivirus" {
		t.Errorf("%+v", reports)
	}
}
