package appliance

import (
	"context"
	"time"

	"lazaret/internal/alert"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Classes of alerts: what an administrator may want to hear of by themselves.
const (
	AlertCertificate = "certificates" // one runs out, or a file is broken
	AlertCPQ         = "cpq"          // the peer does what it must not, or more than it may
	AlertDelivery    = "delivery"     // mail that nobody hears of, links that are down
	AlertHardware    = "hardware"     // disks
	AlertQuarantine  = "quarantine"
	AlertSystem      = "system"
)

// maxAlerts is how many alerts wait to be mailed; those beyond it are in the
// log alone.
const maxAlerts = 200

// Alert tells the administrators of something that needs one of them. text is
// one sentence of ours; what came from outside is escaped in it. It never
// waits for anybody.
func (a *Appliance) Alert(class, text string) { a.AlertLevel(class, alert.Warning, text) }

// AlertLevel is Alert with a level of its own.
func (a *Appliance) AlertLevel(class string, level alert.Level, text string) {
	if level == alert.Info {
		a.Log.Info(text)
	} else {
		a.Log.Warning(text)
	}
	select {
	case a.alerts <- alert.Alert{Class: class, Level: level, Text: text, At: a.Now()}:
	default:
	}
}

// PostAlert puts a mail to an administrator durably into the queue, and gives
// its number.
type PostAlert func(ctx context.Context, to mail.Address, make func(id string) ([]byte, error)) (mail.MID, error)

// KeepAlerts mails alerts until ctx ends; what waits then is mailed first.
func (a *Appliance) KeepAlerts(ctx context.Context, post PostAlert) {
	t := time.NewTicker(30 * time.Second)
	defer t.Stop()
	var repeats alert.Repeats
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-a.alerts:
			first, most := a.Config.Committed().Alerts.Intervals()
			if one, send := repeats.Offer(one, first, most); send {
				a.mailAlert(ctx, one, post)
			}
		case <-t.C:
			first, most := a.Config.Committed().Alerts.Intervals()
			for _, one := range repeats.Due(a.Now(), first, most) {
				a.mailAlert(ctx, one, post)
			}
		}
	}
}

// mailAlert sends one alert to those who want it.
func (a *Appliance) mailAlert(ctx context.Context, one alert.Alert, post PostAlert) {
	c := a.Config.Committed()
	for _, r := range c.Alerts.Recipients {
		to, err := r.Recipient()
		if err != nil || !to.Wants(one.Class, one.Level) {
			continue
		}
		_, err = post(ctx, to.Address, func(id string) ([]byte, error) {
			return one.Mail(c.Hostname, c.Serial, id, c.AlertSender(), to.Address)
		})
		if err != nil {
			a.Log.Fault("alerts", errs.Context(err, "mailing an alert to %s", to.Address).Error())
			continue
		}
		a.Log.AlertSent(one.Class, one.Level.String(), to.Address.String(), one.Subject(c.Hostname))
	}
}
