//! A simulated carrier: registrar with digest and customers who answer, press keys, are busy or hang up
