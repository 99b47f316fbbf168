"""hwnas"""
