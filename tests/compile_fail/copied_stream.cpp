// expect: deleted|copy
#include <hob/hob.hpp>

hob::tcp_stream g(hob::tcp_stream& stream) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    return std::move(stream);
#else
    return stream;
#endif
}
