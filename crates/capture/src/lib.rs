//! The world as it is: sampling the machine, attaching to processes
