package appliance

// Classes of alerts: what an administrator may want to hear of by themselves.
const (
	AlertCertificate = "certificates" // one runs out, or a file is broken
	AlertCPQ         = "cpq"          // the peer does what it must not, or more than it may

	AlertDelivery = "delivery" // mail that nobody hears of, links that are down
)

// Alert tells the administrators of something that needs one of them. text is
// one sentence of ours; what came from outside is escaped in it. It never
// waits for anybody.
func (a *Appliance) Alert(class, text string) {
	a.Log.Warning(text)
}
