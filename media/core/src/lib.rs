//! Sans-IO media: RTP, RTCP, codecs, SDP, DTMF, prompt player, legs
